"""The broker's side of each account: one shared read, one request for each order, and its budget."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol, TypeVar

from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerRejected
from marketdata.domain.orders import (
    OrderLimits,
    OrderRequest,
    OrderSnapshot,
    PositionSnapshot,
    Quote,
    TradeSnapshot,
    WriteResult,
)
from marketdata.ports import BrokerConfig, OrderGateway, OrderWire
from strategies.domain.budget import DayCap, Pace
from strategies.spares import SpareWire

T = TypeVar("T")

CAUTIOUS = OrderLimits(per_second=10, per_minute=200, per_day=2_000)
"""Where a broker's own limits are not known."""

READ_MAX_AGE_S = 1.0
READ_AHEAD_AGE_S = READ_MAX_AGE_S / 2
"""A read this old would not last until the plan: another is begun."""

READ_SPACING_S = 0.45
"""Least time between the beginnings of two reads: each is up to four requests, of which Kite takes ten a second."""

READ_RETRY_S = 1.0
"""The same after one that failed."""

QUOTE_MAX_AGE_S = 1.0
QUOTE_SPACING_S = 1.05
"""Between two requests for quotes, as brokers limit them."""
QUOTE_GATHER_S = 0.05
"""How long a request for quotes waits for others to join it."""

READERS, WRITERS = 2, 10
"""Threads of one account at most: a broker that hangs holds up its own account only."""

LOOK_S = 0.25
"""How soon to look again whether something may leave."""

SEND_WITHIN_S = 0.5
"""How long after the permit the request may still leave. Later, the process was paused: refuse."""

PERMIT_WITHIN_S = 5.0
"""The same from before the permit's commit: a process that was paused in it cannot tell when it ended."""


class BrokerCalls(Protocol):
    """Where an account's blocking calls run. Writes never queue behind reads."""

    async def read(self, call: Callable[[], T]) -> T: ...

    async def write(self, call: Callable[[], T]) -> T: ...

    def close(self) -> None: ...


class BrokerThreads:
    """Implements ``BrokerCalls`` with a few threads of the account's own."""

    def __init__(self) -> None:
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="broker-read")
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="broker-write")

    async def read(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)

    async def write(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writers, call)

    def close(self) -> None:
        """Let go of the threads without waiting for a broker that does not answer."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._writers.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class AccountRead:
    """One complete read of an account. ``began_at`` is UNIX seconds, ``began`` monotonic.

    ``trades`` is None when nobody asked for them.
    """

    orders: Sequence[OrderSnapshot]
    positions: Sequence[PositionSnapshot]
    began_at: float
    began: float
    trades: Sequence[TradeSnapshot] | None = None


class Turns:
    """Who may plan an order next: within the account's pace, the largest loss first.

    A turn is a place among what is about to leave. No more are given than may leave, so that nobody
    overtakes a larger loss on the way, and no plan gets old waiting behind others.
    """

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self._pace = pace
        self._clock = clock
        self._arrivals = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._giving: asyncio.Task[None] | None = None

    async def take(self, loss_rate: int) -> None:
        """Wait for a turn."""
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (-loss_rate, next(self._arrivals), turn))
        if self._giving is None or self._giving.done():
            self._giving = asyncio.create_task(self._give(), name="turns")
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given just now
                self.give_back()
            raise

    def give_back(self) -> None:
        """Return a turn that came to no order."""
        self._pace.release()

    def close(self) -> None:
        if self._giving is not None:
            self._giving.cancel()

    async def _give(self) -> None:
        while self._waiting:
            if (wait := self._pace.wait_s(self._clock.monotonic())) > 0:
                await self._clock.sleep(min(wait, LOOK_S))  # a place may be given back before
                continue
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():  # whoever waited may have been cancelled
                self._pace.reserve()
                turn.set_result(None)
                await self._clock.sleep(0)


class AccountDesk:
    """One account at its broker. Reads are shared; writes are single shots."""

    def __init__(
        self,
        gateway: OrderGateway,
        clock: Clock,
        limits: OrderLimits = CAUTIOUS,
        calls: BrokerCalls | None = None,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self.calls: BrokerCalls = calls or BrokerThreads()
        self._pace = Pace(limits)
        self.turns = Turns(self._pace, clock)
        self.cap = DayCap(limits)
        self._day: date | None = None
        self.heard: dict[str, OrderSnapshot] = {}
        self._last: AccountRead | None = None
        self._next_read = float("-inf")  # monotonic
        self._reading: asyncio.Task[None] | None = None
        self._trades_wanted = False
        self._quoted = self._watched = float("-inf")  # when quotes were last asked for, and for watching
        self._quotes: dict[str, tuple[Quote, float]] = {}
        self._quotes_wanted: set[str] = set()
        self._quoting: asyncio.Task[None] | None = None
        self._owner_confirmed = False
        self._spare = SpareWire(lambda: self.calls.write(gateway.open_wire), clock)

    # --- reading ------------------------------------------------------------------------

    async def read(self, *, not_before: float | None = None, trades: bool = False) -> AccountRead:
        """Return a read of orders and positions begun at ``not_before`` (monotonic) or later.

        Without it, one at most a second old will do. Callers share what is under way.

        Raises:
            BrokerError: The broker did not answer, or not as documented: nothing is known.

        """
        if not_before is None:
            not_before = self._clock.monotonic() - READ_MAX_AGE_S
        while (last := self._last) is None or last.began < not_before or (trades and last.trades is None):
            # One read at a time: a caller for whom the running one began too early joins the next.
            self._trades_wanted = self._trades_wanted or trades
            await asyncio.shield(self._read_under_way())
        return last

    def read_ahead(self) -> None:
        """Begin a read that is about to be wanted, unless there is one: what it comes to is its caller's."""
        if self._last is None or self._last.began < self._clock.monotonic() - READ_AHEAD_AGE_S:
            self._read_under_way().add_done_callback(heard)

    def _read_under_way(self) -> asyncio.Task[None]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return self._reading

    async def quotes(self, symbols: Collection[str]) -> Mapping[str, Quote]:
        """Return quotes by symbol. Raises ``BrokerError``."""
        self._quoted = self._clock.monotonic()
        try:
            return await self.calls.read(lambda: self._gateway.quotes(symbols))
        finally:
            self._quoted = self._clock.monotonic()  # many symbols are several requests, the last just now

    async def watch(self, symbols: Collection[str]) -> Mapping[str, Quote]:
        """Return quotes by symbol for watching prices: exits ask first, this waits until it may.

        Raises:
            BrokerError: The broker did not answer.

        """
        while (wait := self._quoted + QUOTE_SPACING_S - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait)
        self._watched = self._clock.monotonic()
        try:
            return await self.quotes(symbols)
        finally:
            self._watched = self._clock.monotonic()

    async def quote(self, symbol: str) -> Quote | None:
        """Return one quote at most a second old; None when the broker has none.

        Whoever asks at the same time is asked for in one request: the broker answers one a second.

        Raises:
            BrokerError: The broker did not answer.

        """
        not_before = self._clock.monotonic() - QUOTE_MAX_AGE_S
        self._quotes_wanted.add(symbol)
        while symbol in self._quotes_wanted:
            if self._quoting is None or self._quoting.done():
                self._quoting = asyncio.create_task(self._quote())
            await asyncio.shield(self._quoting)
        known = self._quotes.get(symbol)
        return known[0] if known is not None and known[1] >= not_before else None

    async def _quote(self) -> None:
        soonest = self._watched + QUOTE_SPACING_S - self._clock.monotonic()
        await self._clock.sleep(max(QUOTE_GATHER_S, soonest))
        wanted, now = frozenset(self._quotes_wanted), self._clock.monotonic()
        try:
            quotes = await self.quotes(wanted)
        finally:
            self._quotes_wanted -= wanted
        self._quotes.update({symbol: (quote, now) for symbol, quote in quotes.items()})

    def begin_day(self, today: date, used: int) -> None:
        """Forget what was of an earlier day; ``used``: order requests of ``today`` so far."""
        if self._day != today:
            self._day, self.cap.used = today, used
            self.heard.clear()

    def hear(self, update: OrderSnapshot) -> None:
        """Keep an order update: what it says is not believed, but it may show that a book is stale."""
        self.heard[update.order_id] = update

    async def confirm_owner(self, client_id: str) -> None:
        """Check, once, that the token is this client's: swapped credentials sell another's shares.

        Raises:
            BrokerRejected: It is somebody else's.
            BrokerError: The broker did not say.

        """
        if self._owner_confirmed or not client_id:
            return
        owner = await self.calls.read(self._gateway.account_id)
        if owner != client_id:
            raise BrokerRejected(
                f"the access token belongs to {owner}, not to {client_id}: log in as {client_id}"
            )
        self._owner_confirmed = True

    # --- writing ------------------------------------------------------------------------

    async def open(self, request: OrderRequest, *, has_turn: bool = False) -> OrderWire:
        """Wait until one more order may leave, connect, and encode it; nothing leaves.

        It is to be given to ``send`` or ``give_up``: until then it counts as about to leave. A turn
        that was taken for it (``has_turn``) is used up, also where this fails.

        Raises:
            BrokerError: Could not connect or encode it.

        """
        if not has_turn:
            await self._reserve()
        try:
            return await self._prepared(request)
        except BaseException:
            self._pace.release()
            raise

    def connect_ahead(self) -> None:
        """Begin to open a connection for an order that is about to come."""
        self._spare.begin()

    async def _prepared(self, request: OrderRequest) -> OrderWire:
        spare = await self._spare.take()
        return await self.calls.write(lambda: _prepared(spare or self._gateway.open_wire(), request))

    @property
    def orders_left(self) -> int:
        """Return how many more orders may leave today for whoever has a turn: others are on their way too."""
        return max(self.cap.left - max(self._pace.reserved - 1, 0), 0)

    @property
    def warning(self) -> str:
        """Return what a person has to know of the account's order requests; empty while there are plenty."""
        return self.cap.warning or self._pace.warning(self._clock.monotonic())

    def give_up(self, wire: OrderWire) -> None:
        """Close a wire whose order is not to be sent."""
        self._pace.release()
        wire.close()

    async def send(self, wire: OrderWire, permit_began: float) -> WriteResult:
        """Send what is prepared, once, right after its permit was committed.

        Args:
            wire: What ``open`` returned.
            permit_began: When that commit was begun (monotonic).

        """
        self.cap.used += 1
        return await self._leave(
            wire, lambda not_after: wire.send(min(not_after, permit_began + PERMIT_WITHIN_S))
        )

    async def cancel(self, order_id: str) -> WriteResult:
        """Ask for one order to be cancelled. Raises ``BrokerError`` when nothing was sent."""
        wire = await self.calls.write(self._gateway.open_wire)
        try:
            await self._reserve()
        except BaseException:
            wire.close()
            raise
        return await self._leave(wire, lambda _: wire.cancel(order_id))

    async def _leave(self, wire: OrderWire, call: Callable[[float], WriteResult]) -> WriteResult:
        left_by = self._clock.monotonic() + SEND_WITHIN_S
        sending = asyncio.create_task(self.calls.write(lambda: call(left_by)))
        try:
            await self._has_left(sending)
            return await sending
        finally:
            sending.cancel()
            wire.close()

    async def _has_left(self, sending: asyncio.Task[WriteResult]) -> None:
        """Count a request when it has surely left: counted as it sets out, a slow one would meet the next ones."""
        waiting = asyncio.create_task(self._clock.sleep(SEND_WITHIN_S))
        try:
            await asyncio.wait({sending, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            self._pace.count(self._clock.monotonic())
            self._pace.release()

    async def _reserve(self) -> None:
        while (wait := self._pace.wait_s(self._clock.monotonic())) > 0:
            await self._clock.sleep(min(wait, LOOK_S))
        self._pace.reserve()

    def take_over(self, before: AccountDesk) -> None:
        """Go on where the desk with the credentials of before was: the limits are the account's."""
        self.turns, self._pace, self.cap, self.heard = before.turns, before._pace, before.cap, before.heard
        self._day = before._day

    def close(self) -> None:
        """Let go of whatever waits."""
        self.turns.close()
        self._spare.close()
        self.calls.close()

    async def _read(self) -> None:
        await self._clock.sleep(max(0.0, self._next_read - self._clock.monotonic()))
        began, began_at = self._clock.monotonic(), self._clock.time()
        self._next_read = began + READ_RETRY_S
        with_trades, self._trades_wanted = self._trades_wanted, False
        orders = await self.calls.read(self._gateway.orders)
        trades = await self.calls.read(self._gateway.trades) if with_trades else None
        positions = await self.calls.read(self._gateway.positions)
        self._next_read = began + READ_SPACING_S
        self._last = AccountRead(orders, positions, began_at, began, trades)


class AccountDesks:
    """The desks by account, each rebuilt when its account's credentials change."""

    def __init__(
        self,
        make_gateway: Callable[[BrokerConfig], OrderGateway],
        clock: Clock,
        *,
        limits: Callable[[str], OrderLimits] = lambda _: CAUTIOUS,
        make_calls: Callable[[], BrokerCalls] = BrokerThreads,
    ) -> None:
        self._make_gateway = make_gateway
        self._clock = clock
        self._limits = limits
        self._make_calls = make_calls
        self._desks: dict[int, tuple[BrokerConfig, AccountDesk]] = {}

    def desk(self, config: BrokerConfig) -> AccountDesk:
        """Return the desk of an account with these credentials."""
        known = self._desks.get(config.account_id)
        if known is not None and known[0] == config:
            return known[1]
        limits = self._limits(config.broker)
        gateway = self._make_gateway(config)
        calls = self._make_calls() if known is None else known[1].calls
        desk = AccountDesk(gateway, self._clock, limits, calls)
        if known is not None:  # what it has under way ends in peace
            desk.take_over(known[1])
        self._desks[config.account_id] = (config, desk)
        return desk

    def known(self, account_id: int) -> AccountDesk | None:
        """Return an account's desk if it has one."""
        found = self._desks.get(account_id)
        return found[1] if found else None

    def close(self) -> None:
        """Let go of every desk."""
        for _, desk in self._desks.values():
            desk.close()


def _prepared(wire: OrderWire, request: OrderRequest) -> OrderWire:
    try:
        wire.prepare(request)
    except BaseException:
        wire.close()
        raise
    return wire


def heard(early: asyncio.Task[Any]) -> None:
    """Take note of how something ended that was begun early: whoever joined it is told, nobody else has to be."""
    if not early.cancelled():
        early.exception()
