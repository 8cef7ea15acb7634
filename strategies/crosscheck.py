"""Prices that are in doubt are asked about, and what is odd about prices is told.

The second for which a doubtful touch is held does not wait for an answer: one that comes in time
confirms the touch or takes it back, and without one the touch counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from functools import partial
from typing import Any

from marketdata.domain.errors import BrokerError
from marketdata.domain.orders import Quote
from strategies.domain.questions import Closed, Dispute, Doubted
from strategies.pricenews import PriceNews
from strategies.workshop import Workshop

logger = logging.getLogger(__name__)

SPACING_S = 1.0
"""Between two questions to one account: brokers answer one a second."""
TOLD_AGAIN_S = 3600.0
"""A price that is not believed is written down once in so long for each symbol of a feed."""

Judge = Callable[[int, Mapping[str, Quote]], Awaitable[object]]
"""Judges a user's stops by quotes, as far as they may trigger."""


class CrossCheck:
    """Asks for quotes, one request at a time for each account, and has stops judged by them."""

    def __init__(self, shop: Workshop, judge: Judge, news: PriceNews) -> None:
        self._shop = shop
        self._judge = judge
        self._news = news
        self._wanted: dict[int, dict[tuple[int, str], Doubted]] = {}  # by account, user and symbol
        self._told: dict[tuple[int, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def doubt(self, doubted: Doubted) -> None:
        """Ask about a price, together with whatever else is to be asked of its account."""
        if not doubted.feed:
            return  # from outside: there is nobody to ask
        wanted = self._wanted.get(doubted.feed)
        if wanted is None:
            wanted = self._wanted[doubted.feed] = {}
            self._start(self._ask(doubted.feed, wanted))
        wanted.setdefault((doubted.user_id, doubted.symbol), doubted)

    def dispute(self, dispute: Dispute) -> None:
        """Write down that feeds disagree."""
        self._start(self._shop.db(partial(self._news.disagree, dispute)))

    def closed(self, closed: Closed) -> None:
        """Write down that the market closed beyond a stop."""
        self._start(self._shop.db(partial(self._news.closed, closed)))

    def exchange(self, user_ids: Collection[int], kind: str, text: str) -> None:
        """Write down how an exchange is, for each of these users."""
        self._start(self._shop.db(partial(self._news.exchange, user_ids, kind, text)))

    def cancel(self) -> set[asyncio.Task[None]]:
        """Return what is under way, to be cancelled."""
        return set(self._tasks)

    # --- inside ---------------------------------------------------------------------------

    async def _ask(self, account_id: int, wanted: dict[tuple[int, str], Doubted]) -> None:
        try:
            await asyncio.sleep(0)  # what the same message brings goes into the same request
            while wanted:
                asked = list(wanted.values())
                wanted.clear()
                await self._answer(account_id, asked)
                await self._shop.clock.sleep(SPACING_S)
        finally:
            del self._wanted[account_id]

    async def _answer(self, account_id: int, asked: list[Doubted]) -> None:
        try:
            desk = await self._shop.desk(account_id, asked[0].user_id)
            quotes = await desk.quotes({doubted.symbol for doubted in asked})
        except BrokerError as exc:
            logger.warning("account %s was asked about prices in doubt: %s", account_id, exc)
            return
        for user_id in {doubted.user_id for doubted in asked}:
            await self._judge(user_id, quotes)
        for doubted in asked:
            quote = quotes.get(doubted.symbol)
            if quote is not None and quote.price > 0 and _is_far(doubted.price, quote.price):
                await self._tell_disproved(doubted, quote)

    async def _tell_disproved(self, doubted: Doubted, quote: Quote) -> None:
        key, now = (doubted.feed, doubted.symbol), self._shop.clock.monotonic()
        if now - self._told.get(key, float("-inf")) >= TOLD_AGAIN_S:
            self._told[key] = now
            await self._shop.db(partial(self._news.disproved, doubted, quote), doubted.user_id)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("what is odd about prices could not be looked into", exc_info=error)


def _is_far(price: int, quoted: int) -> bool:
    """Tell whether a quote speaks against a price: by more than a tenth, since prices move on."""
    return abs(price - quoted) * 10 > quoted
