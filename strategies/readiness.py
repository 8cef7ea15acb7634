"""The way to every broker is kept open, so that an account's first exit of the day is as quick as its tenth.

The first request costs many times the next ones: a connection, its encryption, what an SDK loads. And a login
that will not do is known before a stop needs it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from functools import partial

from marketdata.domain.errors import BrokerError
from strategies import records
from strategies.workshop import Workshop

logger = logging.getLogger(__name__)

AGAIN_S = 45.0
"""Hosts close a connection that has been idle for a minute or so."""

SPREAD_S = 2.0
"""Accounts are read over this long, and not at once."""


class Readiness:
    """Reads each account that has armed stops on an open exchange, now and then.

    Args:
        shop: With the desks.
        owned: Whose accounts; None: everybody's.

    """

    def __init__(self, shop: Workshop, owned: Callable[[], Collection[int] | None]) -> None:
        self._shop = shop
        self._owned = owned

    async def run(self) -> None:
        """Read them until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                logger.exception("accounts with armed stops could not be read: trying again")
            await self._shop.clock.sleep(AGAIN_S)

    async def look(self) -> None:
        """Read each account once; one that hangs or fails holds up no other."""
        accounts = await self._shop.look_db(partial(records.armed_accounts, self._owned()))
        now = self._shop.clock.time()
        open_ones = [one for one in accounts if self._shop.is_trading(f"{one.exchange}:", now)]
        due = list(dict.fromkeys((one.id, one.user_id) for one in open_ones))
        await asyncio.gather(
            *(self._read(*one, place * SPREAD_S / len(due)) for place, one in enumerate(due))
        )

    async def _read(self, account_id: int, user_id: int, wait_s: float) -> None:
        try:
            await self._shop.clock.sleep(wait_s)
            await self._shop.precedence.wait()
            desk = await self._shop.desk(account_id, user_id)
            await desk.read()
        except BrokerError as exc:
            logger.info("account %s has armed stops and cannot be read: %s", account_id, exc)
        except Exception:
            logger.exception("account %s could not be read", account_id)
