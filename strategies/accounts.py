"""The broker's side of each account: one shared read, one order at a time per request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerRejected
from marketdata.domain.orders import (
    OrderRequest,
    OrderSnapshot,
    PositionSnapshot,
    Quote,
    WriteResult,
)
from marketdata.ports import BrokerConfig, OrderGateway
from strategies.domain.budget import SlidingWindow

T = TypeVar("T")

ORDERS_PER_SECOND = 10
READ_MAX_AGE_S = 1.0
READ_SPACING_S = 0.25
"""Least time between the beginnings of two reads: the broker counts them."""

READ_RETRY_S = 1.0
"""The same after one that failed."""

READERS, WRITERS = 2, 10
"""Threads of one account at most: a broker that hangs holds up its own account only."""

SEND_WITHIN_S = 0.5
"""How long after the permit the request may still leave. Later, the process was paused: refuse."""


@dataclass(frozen=True, slots=True)
class AccountRead:
    """One complete read of an account. ``began_at`` is UNIX seconds, ``began`` monotonic."""

    orders: Sequence[OrderSnapshot]
    positions: Sequence[PositionSnapshot]
    began_at: float
    began: float


class AccountDesk:
    """One account at its broker. Reads are shared; writes are single shots.

    Blocking broker calls run in worker threads: writes never queue behind reads.
    """

    def __init__(self, gateway: OrderGateway, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="broker-read")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="broker-write")
        self._turns = SlidingWindow(ORDERS_PER_SECOND, 1.0)
        self._sent = SlidingWindow(ORDERS_PER_SECOND, 1.0)
        self._last: AccountRead | None = None
        self._next_read = float("-inf")  # monotonic
        self._reading: asyncio.Task[None] | None = None
        self._owner_confirmed = False

    async def read(self, *, not_before: float | None = None) -> AccountRead:
        """Return a read of orders and positions begun at ``not_before`` (monotonic) or later.

        Without it, one at most a second old will do. Callers share what is under way.

        Raises:
            BrokerError: The broker did not answer, or not as documented: nothing is known.

        """
        if not_before is None:
            not_before = self._clock.monotonic() - READ_MAX_AGE_S
        while self._last is None or self._last.began < not_before:
            # One read at a time: a caller for whom the running one began too early joins the next.
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
        return self._last

    async def quotes(self, symbols: Collection[str]) -> Mapping[str, Quote]:
        """Return quotes by symbol. Raises ``BrokerError``."""
        return await self._in(self._readers, lambda: self._gateway.quotes(symbols))

    async def confirm_owner(self, client_id: str) -> None:
        """Check, once, that the token is this client's: swapped credentials sell another's shares.

        Raises:
            BrokerRejected: It is somebody else's.
            BrokerError: The broker did not say.

        """
        if self._owner_confirmed or not client_id:
            return
        owner = await self._in(self._readers, self._gateway.account_id)
        if owner != client_id:
            raise BrokerRejected(
                f"the access token belongs to {owner}, not to {client_id}: log in as {client_id}"
            )
        self._owner_confirmed = True

    async def place(self, request: OrderRequest, permit: Callable[[], Awaitable[bool]]) -> WriteResult | None:
        """Send one order: connect, prepare, ask ``permit``, write once. None when the permit was refused.

        Raises:
            BrokerError: Could not connect or prepare it. The permit was not asked for.

        """
        wire = await self._in(self._writers, self._gateway.open_wire)
        try:
            await self._in(self._writers, lambda: wire.prepare(request))
            await self._within(self._sent)  # slow connections may have brought turns together
            if not await permit():
                return None
            not_after = self._clock.monotonic() + SEND_WITHIN_S
            return await self._in(self._writers, lambda: wire.send(not_after))
        finally:
            wire.close()

    async def turn(self) -> None:
        """Wait until this account may plan its next order: what is planned is sent soon or not at all."""
        await self._within(self._turns)

    def close(self) -> None:
        """Let go of the threads without waiting for a broker that does not answer."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._writers.shutdown(wait=False, cancel_futures=True)

    async def _within(self, window: SlidingWindow) -> None:
        while (wait := window.wait_s(self._clock.monotonic())) > 0:
            await self._clock.sleep(wait)
        window.count(self._clock.monotonic())

    async def _read(self) -> None:
        await self._clock.sleep(max(0.0, self._next_read - self._clock.monotonic()))
        began, began_at = self._clock.monotonic(), self._clock.time()
        self._next_read = began + READ_RETRY_S
        orders = await self._in(self._readers, self._gateway.orders)
        positions = await self._in(self._readers, self._gateway.positions)
        self._next_read = began + READ_SPACING_S
        self._last = AccountRead(orders, positions, began_at, began)

    @staticmethod
    async def _in(executor: Executor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call)


class AccountDesks:
    """The desks by account, each rebuilt when its account's credentials change."""

    def __init__(self, make_gateway: Callable[[BrokerConfig], OrderGateway], clock: Clock) -> None:
        self._make_gateway = make_gateway
        self._clock = clock
        self._desks: dict[int, tuple[BrokerConfig, AccountDesk]] = {}

    def desk(self, config: BrokerConfig) -> AccountDesk:
        """Return the desk of an account with these credentials."""
        known = self._desks.get(config.account_id)
        if known is not None and known[0] == config:
            return known[1]
        desk = AccountDesk(self._make_gateway(config), self._clock)
        self._desks[config.account_id] = (config, desk)
        return desk

    def close(self) -> None:
        """Let go of every desk."""
        for _, desk in self._desks.values():
            desk.close()
