"""The tick's way through the house: judged, checked against the stops, then shown.

Everything up to the stop check is plain synchronous code on one event loop. So the ticks of a
symbol are taken strictly in order, and those of different symbols never wait for one another:
there is nothing to wait for. Redis, the database and browsers only ever see a map of latest
prices that others empty at their own pace; however slow they are, the map holds one price for
each symbol and nothing queues.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable
from weakref import WeakSet

from django.conf import settings

from marketdata.board import Board
from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from marketdata.domain.gate import Accepted, Decision, Gate
from marketdata.domain.prices import to_units
from marketdata.domain.sessions import Calendar
from marketdata.domain.ticks import Tick
from marketdata.ports import TickSink
from marketdata.singletons import Singleton
from marketdata.statistics import Durations, Histogram, RateMeter, TickStats

logger = logging.getLogger(__name__)

SLOW_S = 0.1
NOBODY = 0
"""Whose feed a price from outside came from: it goes to no user's page."""
_LOG_EVERY_S = 1.0


class Monitor(TickSink, Protocol):
    """The stop check. It sees actionable ticks only, and may be shown one twice after an error."""

    async def on_price_update(self, symbol: str, ltp: Decimal) -> None:
        """Judge one price against every user's stops."""
        ...

    def on_refused(self, user_id: int, refused: Sequence[tuple[Tick, Decision]], feed: int = 0) -> None:
        """Take the ticks that may not trigger, with why. Returns at once."""
        ...


class Bounds(Protocol):
    """The open interval of prices (units) that touch nothing."""

    @property
    def floor(self) -> int: ...

    @property
    def ceiling(self) -> int: ...


@runtime_checkable
class QuietMonitor(Protocol):
    """A stop check that need not see at once what touches nothing."""

    wake: Callable[[str], None]

    def quiet(self, user_id: int, symbol: str, feed: int) -> Bounds | None:
        """Return which prices touch nothing; None: each has to be seen. Holds until it calls ``wake``."""
        ...

    def on_quiet(self, user_id: int, symbol: str, ticks: Sequence[Tick], feed: int) -> None:
        """Take those prices, in order, before the next one."""
        ...


class Outlet(TickSink, Protocol):
    """Somewhere prices are shown: takes them at once, and sends them out when it gets to it."""

    async def flush(self) -> None:
        """Send out what is waiting. Never raises."""
        ...


class TickProcessor:
    """Takes every tick of every feed, in the order in which they were read."""

    def __init__(
        self,
        *,
        monitor: Monitor | None = None,
        outlets: Sequence[Outlet] = (),
        calendar: Calendar | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Wire the pipeline.

        Args:
            monitor: Gets the actionable ticks, before anybody else.
            outlets: Get the ticks that may be shown, in this order: LTP cache, broadcast.
            calendar: When exchanges trade.
            clock: Replaces the machine's.

        """
        self._monitor = monitor
        self._outlets = tuple(outlets)
        self._clock = clock or SystemClock()
        self.gate = Gate(calendar or Calendar())
        self._rate = RateMeter()
        self._durations = Durations()
        self.to_decision = Histogram()
        """From the reading of a tick to its having been judged against every stop, and handed on."""
        self._symbols: set[str] = set()
        self._total = 0
        self._errors = 0
        self._logged: dict[str, float] = {}
        self._boards: WeakSet[Board] = WeakSet()
        asked: object = monitor
        self._quiet = asked if isinstance(asked, QuietMonitor) else None
        self.gate.on_change = self._wake
        if self._quiet is not None:
            self._quiet.wake = self._wake

    def accept(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> Sequence[tuple[Tick, Decision]]:
        """Take the ticks of one message of a user's feed. Returns at once, never raises.

        ``feed`` is the account whose feed it is; 0 when they come from outside. Returns what each
        tick may do; one that could not be judged is left out.
        """
        started, now = self._clock.monotonic(), self._clock.time()
        judged = self._judge(ticks, now, feed)
        actionable = [tick for tick, decision in judged if decision.is_actionable]
        if actionable and self._monitor is not None:
            self._hand_over(self._monitor, user_id, actionable, feed)
        if len(actionable) < len(judged) and self._monitor is not None:
            self._tell_refused(self._monitor, user_id, judged, feed)
        if shown := [tick for tick, decision in judged if decision.is_shown]:
            for outlet in self._outlets:
                self._hand_over(outlet, user_id, shown, feed)
        if ticks:
            self._count(len(ticks), started, now - ticks[0].received_at)
        return judged

    # --- prices that nobody has to act on: see ``board`` -----------------------------------

    def attach(self, board: Board) -> None:
        """Wake this board's instruments whenever their next price may mean something."""
        self._boards.add(board)

    def interval(self, user_id: int, symbol: str, feed: int) -> Accepted | None:
        """Return which prices of a feed would be accepted and touch no stop; None: each has to be judged."""
        accepted = self.gate.accepted(symbol, self._clock.time(), feed)
        if accepted is None or self._monitor is None:
            return accepted
        bounds = None if self._quiet is None else self._quiet.quiet(user_id, symbol, feed)
        if bounds is None:
            return None
        low, high = max(accepted.low, bounds.floor + 1), min(accepted.high, bounds.ceiling - 1)
        return accepted._replace(low=low, high=high)

    def settle(self, user_id: int, symbol: str, ticks: Sequence[Tick], feed: int, *, newest: int) -> None:
        """Take ticks within that interval, in order, before the symbol's next one is judged.

        ``newest`` is the newest exchange time among them; 0: none has one.
        """
        self.gate.remember(ticks[-1], newest, feed)
        if self._quiet is not None:
            self._quiet.on_quiet(user_id, symbol, ticks, feed)

    def show(self, user_id: int, ticks: Sequence[Tick], feed: int) -> None:
        """Show the last ones of several symbols."""
        for tick in ticks:
            self.gate.remember(tick, tick.exchange_time or 0, feed)
        self._show(user_id, ticks, feed)

    def show_behind(self, user_id: int, ticks: Sequence[Tick], feed: int) -> Sequence[Tick]:
        """Show settled ticks now that later ones were judged, if none of those was shown; return which were."""
        behind = [tick for tick in ticks if not self.gate.has_shown(tick.symbol, feed)]
        if behind:
            self._show(user_id, behind, feed)
        return behind

    def _show(self, user_id: int, ticks: Sequence[Tick], feed: int) -> None:
        self._symbols.update(tick.symbol for tick in ticks)
        for outlet in self._outlets:
            self._hand_over(outlet, user_id, ticks, feed)

    def count_quiet(self, ticks: int, received_at: float) -> None:
        """Count ticks within that interval, of a message that has just been judged."""
        took_s = self._clock.time() - received_at
        self.gate.count_accepted(ticks)
        self._total += ticks
        self._rate.count(ticks, self._clock.monotonic())
        self._durations.add(took_s)
        self.to_decision.add(took_s, ticks)

    def _wake(self, symbol: str | None) -> None:
        for board in list(self._boards):
            if symbol is None:
                board.wake_all()
            else:
                board.wake(symbol)

    # --- prices from outside ----------------------------------------------------------------

    async def process_tick(
        self, symbol: str, ltp: Decimal, timestamp: datetime | None = None, *, user_id: int | None = None
    ) -> None:
        """Take one price from outside a feed; return when the cache and the pages have been sent it.

        Args:
            symbol: Canonical ``EXCHANGE:TRADINGSYMBOL``.
            ltp: Rupees; zero and below are counted and refused.
            timestamp: The exchange's, timezone-aware. Without one the price counts as live.
            user_id: Whose strategies it concerns; None: everybody's.

        Raises:
            TypeError: Not a Decimal.
            ValueError: Not a finite number, finer than a unit, or a timestamp without timezone.

        """
        await self._take(symbol, ltp, timestamp, user_id)
        await self._flush()

    async def process_batch(self, ticks: Iterable[Mapping[str, Any]]) -> int:
        """Take several prices, each ``{"symbol", "ltp", "timestamp"?, "user_id"?}``, in order.

        One that is malformed is counted and logged; the others are taken. Returns how many were.
        """
        taken = 0
        for tick in ticks:
            try:
                await self._take(tick["symbol"], tick["ltp"], tick.get("timestamp"), tick.get("user_id"))
                taken += 1
            except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as exc:
                self._failed("price from outside", exc)
        await self._flush()
        return taken

    def get_stats(self) -> dict[str, Any]:
        """Return ``TickStats`` as a dictionary."""
        return asdict(self.stats())

    def stats(self) -> TickStats:
        """Look at the pipeline now."""
        total = max(self._total, 1)
        counts = self.gate.counts
        return TickStats(
            total_ticks=self._total,
            error_count=self._errors,
            error_rate=self._errors / total,
            avg_processing_time_ms=1000 * self._durations.total_s / total,
            p99_processing_time_ms=1000 * self._durations.percentile(0.99),
            symbols_tracked=len(self._symbols),
            ticks_per_second=self._rate.per_second(self._clock.monotonic()),
            refused={reason: n for reason, n in counts.items() if n and reason != "accepted"},
        )

    # --- inside ---------------------------------------------------------------------------

    async def _take(self, symbol: str, ltp: Decimal, timestamp: datetime | None, user_id: int | None) -> None:
        tick = self._outside_tick(symbol, ltp, timestamp)
        if user_id is not None:
            self.accept(user_id, (tick,))
            return
        started = self._clock.monotonic()
        judged = self._judge((tick,), self._clock.time(), 0)
        if self._monitor is not None and any(decision.is_actionable for _, decision in judged):
            try:
                await self._monitor.on_price_update(symbol, ltp)
            except Exception as exc:  # noqa: BLE001 - a stop check that fails must not cost the next one
                self._failed(type(self._monitor).__name__, exc)
        for outlet in self._outlets if any(decision.is_shown for _, decision in judged) else ():
            self._hand_over(outlet, NOBODY, (tick,), 0)
        self._count(1, started, 0.0)

    async def _flush(self) -> None:
        for outlet in self._outlets:
            await outlet.flush()

    def _judge(self, ticks: Sequence[Tick], now: float, feed: int) -> list[tuple[Tick, Decision]]:
        judged: list[tuple[Tick, Decision]] = []
        judge = self.gate.judge
        for tick in ticks:
            try:
                decision = judge(tick, now, feed)
            except Exception as exc:  # noqa: BLE001 - one bad tick must not cost the others
                self._failed("tick", exc)
                continue
            judged.append((tick, decision))
            if decision.is_shown:
                self._symbols.add(tick.symbol)
        return judged

    def _hand_over(self, sink: TickSink, user_id: int, ticks: Sequence[Tick], feed: int) -> None:
        try:
            sink.on_ticks(user_id, ticks, feed)
        except Exception as exc:  # noqa: BLE001 - one sink must not cost the others
            self._failed(type(sink).__name__, exc)
            if len(ticks) > 1:  # one of them is to blame: the others must not suffer for it
                for tick in ticks:
                    self._hand_over(sink, user_id, (tick,), feed)

    def _tell_refused(
        self, monitor: Monitor, user_id: int, judged: Sequence[tuple[Tick, Decision]], feed: int
    ) -> None:
        try:
            monitor.on_refused(user_id, [pair for pair in judged if not pair[1].is_actionable], feed)
        except Exception as exc:  # noqa: BLE001 - as with the ticks that count
            self._failed(type(monitor).__name__, exc)

    def _outside_tick(self, symbol: str, ltp: Decimal, timestamp: datetime | None) -> Tick:
        if not isinstance(ltp, Decimal):
            raise TypeError(f"ltp {ltp!r} of {symbol} is a {type(ltp).__name__}: pass a Decimal")
        if timestamp is not None and timestamp.tzinfo is None:
            raise ValueError(f"timestamp {timestamp.isoformat()} has no timezone: pass an aware datetime")
        exchange_time = None if timestamp is None else int(timestamp.timestamp())
        return Tick(symbol, to_units(ltp), self._clock.time(), exchange_time)

    def _count(self, ticks: int, started: float, waited_s: float) -> None:
        now = self._clock.monotonic()
        took_s = now - started
        self._total += ticks
        self._rate.count(ticks, now)
        self._durations.add(took_s)
        self.to_decision.add(waited_s + took_s, ticks)
        if took_s > SLOW_S and self._may_log("slow", now):
            logger.warning("%d tick(s) took %.0f ms", ticks, 1000 * took_s)

    def _failed(self, what: str, error: Exception) -> None:
        """Count an error; log one of each kind a second."""
        self._errors += 1
        if self._may_log(what, self._clock.monotonic()):
            logger.error("%s failed (%d errors so far)", what, self._errors, exc_info=error)

    def _may_log(self, what: str, now: float) -> bool:
        if now - self._logged.get(what, float("-inf")) < _LOG_EVERY_S:
            return False
        self._logged[what] = now
        return True


def _plain() -> TickProcessor:
    """For a process without feeds: prices from outside reach the LTP cache, and no stop."""
    from marketdata.ltp import LtpWriter

    return TickProcessor(outlets=[LtpWriter()], calendar=Calendar(always=settings.MARKET_HOURS == "always"))


_singleton = Singleton(_plain)
get_tick_processor = _singleton.get
set_tick_processor = _singleton.set
