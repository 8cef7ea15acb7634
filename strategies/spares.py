"""A connection that is opened while an order is still being decided on: a handshake is two trips to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerError
from marketdata.ports import OrderWire

SPARE_S = 1.0
"""How long it may wait for its order; brokers close what is idle."""


class SpareWire:
    """At most one connection ahead. Nothing is sent on it before an order is given to it.

    Args:
        open_wire: Opens one; raises ``BrokerError``.
        clock: For how long it is kept.

    """

    def __init__(self, open_wire: Callable[[], Awaitable[OrderWire]], clock: Clock) -> None:
        self._open_wire = open_wire
        self._clock = clock
        self._opening: asyncio.Task[OrderWire] | None = None
        self._expiring: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to open one, unless there is one."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="spare-wire")
            self._expiring = asyncio.create_task(self._expire(), name="spare-wire-expiry")

    async def take(self) -> OrderWire | None:
        """Return the one that was begun, if it is still of use; it is the caller's to close."""
        opening = self._let_go()
        if opening is None:
            return None
        try:
            wire = await asyncio.shield(opening)
        except BrokerError:  # whoever wants one now tries for itself, and is told why not
            return None
        except asyncio.CancelledError:
            _close(opening)
            raise
        if wire.is_open():
            return wire
        wire.close()
        return None

    def close(self) -> None:
        """Close the one that nobody took."""
        if opening := self._let_go():
            _close(opening)

    async def _open(self) -> OrderWire:
        return await self._open_wire()

    async def _expire(self) -> None:
        await self._clock.sleep(SPARE_S)
        self._expiring = None
        self.close()

    def _let_go(self) -> asyncio.Task[OrderWire] | None:
        opening, self._opening = self._opening, None
        if self._expiring is not None:
            self._expiring.cancel()
        return opening


def _close(opening: asyncio.Task[OrderWire]) -> None:
    """Close what it comes to, whenever that is."""
    if opening.done():
        _close_opened(opening)
    else:
        opening.add_done_callback(_close_opened)


def _close_opened(opening: asyncio.Task[OrderWire]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
