"""Every tick against every stop, in memory.

With several feeds of one user the first price wins: whichever touches a stop triggers it.
Only while they have disagreed for more than a moment is a touch held for one confirming tick,
and for a second at most: that can delay an exit, never prevent it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from marketdata.domain.orders import Quote
from marketdata.domain.prices import to_units
from marketdata.domain.ticks import Tick
from marketdata.singletons import Singleton
from strategies.domain.agreement import Agreement
from strategies.domain.breaches import Breach
from strategies.domain.stops import Stop, StopBook, is_hit

logger = logging.getLogger(__name__)

LATEST_MAX_AGE_S = 10.0
"""How old the latest actionable price may be to judge a stop that is armed after it came."""


CONFIRM_S = 1.0
"""How long a touch waits for its confirmation while feeds disagree."""

Later = Callable[[float, Callable[[], None]], object]
"""Calls a function after so many seconds, on the same loop."""


@dataclass(slots=True)
class _Watch:
    """One user's stops on one instrument, and the last price that was good enough to act on."""

    book: StopBook = field(default_factory=StopBook)
    latest: Tick | None = None
    agreement: Agreement = field(default_factory=Agreement)
    unconfirmed: Tick | None = None


@dataclass(frozen=True, slots=True)
class Dispute:
    """Feeds of one user that disagree on a price: units by account."""

    user_id: int
    symbol: str
    prices: Mapping[int, int]


class StopLossMonitor:
    """Finds the stops that a price touches and hands each over once.

    A tick that touches nothing costs one look-up and one comparison, with one stop armed or
    100,000. It holds no truth: the database does, and ``reconcile`` brings the two together.
    Not thread-safe: everything happens on the listeners' one loop.
    """

    def __init__(
        self,
        on_breach: Callable[[Breach], None],
        clock: Clock,
        *,
        later: Later,
        on_dispute: Callable[[Dispute], None] = lambda _: None,
    ) -> None:
        self._on_breach = on_breach
        self._on_dispute = on_dispute
        self._later = later
        self._clock = clock
        self._watches: dict[int, dict[str, _Watch]] = {}
        self._homes: dict[int, Stop] = {}  # strategy -> its armed stop
        self._handed_over: dict[int, int] = {}  # strategy -> epoch of its last breach

    @property
    def armed_count(self) -> int:
        return len(self._homes)

    def symbols(self, user_id: int) -> set[str]:
        """Return the instruments on which a user has stops armed."""
        return {symbol for symbol, watch in self._watches.get(user_id, {}).items() if len(watch.book)}

    # --- what to watch ------------------------------------------------------------------

    def arm(self, stop: Stop) -> None:
        """Watch ``stop`` from now on; judge it at once when a fresh price is known."""
        if self._handed_over.get(stop.strategy_id, -1) >= stop.epoch:
            return  # a stale read of the database: this arming has already had its breach
        self.disarm(stop.strategy_id)
        watch = self._watches.setdefault(stop.user_id, {}).setdefault(stop.symbol, _Watch())
        watch.book.arm(stop)
        self._homes[stop.strategy_id] = stop
        self._judge_latest(watch, stop)

    def disarm(self, strategy_id: int) -> None:
        """Stop watching a strategy's stop, if it has one."""
        stop = self._homes.pop(strategy_id, None)
        if stop is not None:
            self._watches[stop.user_id][stop.symbol].book.disarm(strategy_id)

    def reconcile(self, stops: Iterable[Stop]) -> None:
        """Make the armed stops those of ``stops``, touching only what differs."""
        wanted = {stop.strategy_id: stop for stop in stops}
        for strategy_id in [pk for pk in self._homes if pk not in wanted]:
            self.disarm(strategy_id)
        for strategy_id, stop in wanted.items():
            if self._homes.get(strategy_id) != stop:
                self.arm(stop)

    # --- what comes in ------------------------------------------------------------------

    def on_ticks(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> None:
        """Judge actionable ticks of one user's feed, in order."""
        watches = self._watches.get(user_id)
        if not watches:
            return
        for tick in ticks:
            watch = watches.get(tick.symbol)
            if watch is None:
                continue
            watch.latest = tick
            if watch.agreement.note(feed, tick.price, tick.received_at):
                prices = watch.agreement.prices(tick.received_at)
                self._on_dispute(Dispute(user_id, tick.symbol, prices))
            if not watch.book.floor < tick.price < watch.book.ceiling:
                self._touched(watch, tick)

    def on_quotes(self, user_id: int, quotes: Mapping[str, Quote], received_at: float) -> None:
        """Judge prices that were asked for: fresh on arrival, whenever they last traded."""
        for symbol, quote in quotes.items():
            watch = self._watches.get(user_id, {}).get(symbol)
            if watch is not None and quote.price > 0:
                self._hit(watch.book, quote.price, received_at, quote.exchange_time, "quote")

    async def on_price_update(self, symbol: str, ltp: Decimal) -> None:
        """Judge one price against every user's stops on ``symbol``; zero and less are ignored."""
        price = to_units(ltp)
        if price <= 0:
            return
        for watches in self._watches.values():
            if (watch := watches.get(symbol)) is not None:
                self._hit(watch.book, price, self._clock.time(), None, "tick")

    def _touched(self, watch: _Watch, tick: Tick) -> None:
        if watch.unconfirmed is None and watch.agreement.is_disputed(tick.received_at):
            watch.unconfirmed = tick
            self._later(CONFIRM_S, partial(self._confirm, watch))
            return
        watch.unconfirmed = None
        self._hit_by(watch, tick)

    def _confirm(self, watch: _Watch) -> None:
        """Nobody confirmed the touch in time: it counts all the same."""
        tick, watch.unconfirmed = watch.unconfirmed, None
        if tick is not None:
            self._hit_by(watch, tick)

    def _hit_by(self, watch: _Watch, tick: Tick) -> None:
        self._hit(watch.book, tick.price, tick.received_at, tick.exchange_time, "tick")

    def _judge_latest(self, watch: _Watch, stop: Stop) -> None:
        tick = watch.latest
        if tick is None or self._clock.time() - tick.received_at > LATEST_MAX_AGE_S:
            return
        if is_hit(stop, tick.price):
            self._hit_by(watch, tick)

    def _hit(
        self, book: StopBook, price: int, received_at: float, exchange_time: int | None, source: str
    ) -> None:
        for stop in book.take_hit(price):
            self._homes.pop(stop.strategy_id, None)
            self._handed_over[stop.strategy_id] = stop.epoch
            breach = Breach(stop, price, received_at, exchange_time, source, self._clock.time())
            try:
                self._on_breach(breach)
            except Exception:  # one strategy's trouble must not cost the next one its exit
                logger.exception("breach of strategy %s could not be handed over", stop.strategy_id)


def _plain() -> StopLossMonitor:
    """For a process without an exit engine: a breach is logged, nothing is sold."""

    def log(breach: Breach) -> None:
        logger.warning("%s was touched in a process that works no exits", breach.stop)

    return StopLossMonitor(log, SystemClock(), later=lambda _, call: call())


_singleton = Singleton(_plain)
get_stop_loss_monitor = _singleton.get
set_stop_loss_monitor = _singleton.set
