"""Every tick against every stop, in memory.

With several feeds of one user the first price wins: whichever touches a stop triggers it.
Only a touch that is open to doubt is held, for one confirming tick and for a second at most: while
feeds have disagreed for more than a moment, when a print is far from the last prices, or outside
the day's band. That can delay an exit, never prevent it: what is still so after the second counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from marketdata.domain.gate import AFTER_CLOSE, OUTSIDE_BAND, Decision
from marketdata.domain.orders import Quote
from marketdata.domain.prices import to_rupees, to_units
from marketdata.domain.ticks import Tick
from marketdata.singletons import Singleton
from strategies.domain.breaches import Breach, by_urgency
from strategies.domain.freaks import Doubt, band_percent, is_same_print
from strategies.domain.gaps import Crossing
from strategies.domain.questions import Closed, Dispute, Doubted
from strategies.domain.rules import Bounds, Memory
from strategies.domain.stopbook import StopBook
from strategies.domain.stops import Stop
from strategies.domain.watch import Hold, Watch

logger = logging.getLogger(__name__)

LATEST_MAX_AGE_S = 10.0
"""How old the latest actionable price may be to judge a stop that is armed after it came."""

CONFIRM_S = 1.0
"""How long a touch that is open to doubt waits for its confirmation."""

Later = Callable[[float, Callable[[], None]], object]
"""Calls a function after so many seconds, on the same loop."""

Explain = Callable[[Tick, int], Mapping[str, Any]]
"""Tells what the gate decided of a feed's tick."""


class StopLossMonitor:
    """Finds the stops that a price touches and hands each over once.

    A tick that touches nothing costs one look-up and one comparison, with one stop armed or
    100,000. It holds no truth: the database does, and ``reconcile`` brings the two together.
    Not thread-safe: everything happens on the listeners' one loop.
    """

    def __init__(
        self,
        on_breaches: Callable[[list[Breach]], None],
        clock: Clock,
        *,
        later: Later,
        on_dispute: Callable[[Dispute], None] = lambda _: None,
        on_memory: Callable[[list[Stop]], None] = lambda _: None,
        on_doubt: Callable[[Doubted], None] = lambda _: None,
        on_closed: Callable[[Closed], None] = lambda _: None,
        explain: Explain = lambda _tick, _feed: {},
    ) -> None:
        """Start with nothing armed.

        Args:
            on_breaches: Takes what was touched together, the most urgent first; never empty.
            clock: Says when a breach was decided.
            later: Bounds the wait for a confirming tick.
            on_dispute: Takes a disagreement of feeds, once each.
            on_memory: Takes the stops whose rule has something new to remember, to be stored.
            on_doubt: Takes a price that should be asked about.
            on_closed: Takes a stop that a price after the close has touched, once for each arming.
            explain: Tells what else a breach was judged by.

        """
        self._on_breaches = on_breaches
        self._on_dispute = on_dispute
        self._on_memory = on_memory
        self.on_doubt = on_doubt
        self._on_closed = on_closed
        self._closed: dict[int, int] = {}  # strategy -> epoch that was told to have closed beyond its stop
        self.explain = explain
        self._later = later
        self._clock = clock
        self._watches: dict[int, dict[str, Watch]] = {}
        self._armed: dict[int, Stop] = {}  # strategy -> its armed stop; the books share it
        self._handed_over: dict[int, tuple[int, int]] = {}  # strategy -> epoch of its last breach, user
        self.wake: Callable[[str], None] = lambda _: None
        """Called before the prices of a symbol matter, and when its bounds may have moved: see ``quiet``."""
        self._found: list[Breach] = []  # judged, to be handed over before the call returns
        self._remembering: dict[int, Stop] = {}  # strategy -> its stop with a new memory, likewise

    @property
    def armed_count(self) -> int:
        return len(self._armed)

    def symbols(self, user_id: int) -> set[str]:
        """Return the instruments on which a user has stops armed."""
        return {symbol for symbol, watch in self._watches.get(user_id, {}).items() if watch.book}

    def prices(self) -> dict[str, int]:
        """Return the last price (units) of every instrument with stops armed, where one is known."""
        self._wake_all()
        return {
            symbol: watch.latest.price
            for watches in self._watches.values()
            for symbol, watch in watches.items()
            if watch.latest is not None and watch.book
        }

    def users_on(self, exchange: str) -> set[int]:
        """Return the users who have stops armed on an exchange."""
        return {stop.user_id for stop in self._armed.values() if stop.symbol.partition(":")[0] == exchange}

    def is_in_doubt(self, user_id: int) -> bool:
        """Tell whether a touch of one of a user's stops waits for its confirmation."""
        return any(watch.held is not None for watch in self._watches.get(user_id, {}).values())

    # --- what to watch ------------------------------------------------------------------

    def arm(self, stop: Stop) -> None:
        """Watch ``stop`` from now on; judge it at once when a fresh price is known."""
        self._arm(stop)
        self._hand_over()

    def disarm(self, strategy_id: int) -> None:
        """Stop watching a strategy's stop, if it has one."""
        stop = self._armed.get(strategy_id)
        if stop is not None:
            self._watches[stop.user_id][stop.symbol].book.disarm(strategy_id)

    def disarm_user(self, user_id: int) -> None:
        """Forget all of a user's stops, and what was handed over of them: somebody else watches now."""
        for strategy_id in [pk for pk, stop in self._armed.items() if stop.user_id == user_id]:
            self.disarm(strategy_id)
        self._handed_over = {pk: known for pk, known in self._handed_over.items() if known[1] != user_id}

    def reconcile(self, stops: Iterable[Stop]) -> None:
        """Make the armed stops those of ``stops``, touching only what differs."""
        wanted = {stop.strategy_id: stop for stop in stops}
        armed = self._armed
        for strategy_id in armed.keys() - wanted.keys():
            self.disarm(strategy_id)
        for stop in [stop for pk, stop in wanted.items() if armed.get(pk) is not stop]:  # mostly none
            if armed.get(stop.strategy_id) != stop:
                try:
                    self._arm(stop)
                except Exception:  # one stop's trouble must not keep the next one from being armed
                    logger.exception("the stop of strategy %s could not be armed", stop.strategy_id)
        self._hand_over()

    # --- prices that touch nothing --------------------------------------------------------

    def quiet(self, user_id: int, symbol: str, feed: int) -> Bounds | None:
        """Return which prices of a feed touch nothing, and may be told later; None: none may.

        Holds until ``wake`` is called with the symbol.
        """
        watch = self._watches.get(user_id, {}).get(symbol)
        if watch is None:
            return Bounds()
        if watch.held is not None or not watch.agreement.is_only(feed):
            return None
        watch.quiet_feed = feed
        return Bounds(watch.book.floor, watch.book.ceiling)

    def on_quiet(self, user_id: int, symbol: str, ticks: Sequence[Tick], feed: int = 0) -> None:
        """Take prices that touched nothing, in order, before the next one is judged."""
        watch = self._watches.get(user_id, {}).get(symbol)
        if watch is None or not ticks:
            return
        watch.recent.extend((tick, feed) for tick in ticks)
        watch.agreement.note(feed, ticks[-1].price, ticks[-1].received_at)

    def _wake(self, watch: Watch, symbol: str) -> None:
        watch.quiet_feed = None
        self.wake(symbol)

    def _wake_all(self) -> None:
        for watches in self._watches.values():
            for symbol, watch in watches.items():
                if watch.quiet_feed is not None:
                    self._wake(watch, symbol)

    # --- what comes in ------------------------------------------------------------------

    def on_ticks(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> None:
        """Judge actionable ticks of one user's feed, in order."""
        watches = self._watches.get(user_id)
        if not watches:
            return
        is_touched = False
        try:
            for tick in ticks:
                watch = watches.get(tick.symbol)
                if watch is None:
                    continue
                if watch.quiet_feed is not None and watch.quiet_feed != feed:
                    self._wake(watch, tick.symbol)
                watch.recent.append((tick, feed))
                if watch.agreement.note(feed, tick.price, tick.received_at):
                    self._tell_dispute(user_id, watch, tick)
                if not watch.book.floor < tick.price < watch.book.ceiling:
                    is_touched = True
                    self._touched(user_id, watch, tick, feed)
        finally:  # a tick that fails must not cost the breaches before it
            if is_touched:
                self._hand_over()

    def on_quotes(self, user_id: int, quotes: Mapping[str, Quote], received_at: float) -> None:
        """Judge prices that were asked for: fresh on arrival, whenever they last traded."""
        watches = self._watches.get(user_id, {})
        for symbol, quote in quotes.items():
            watch = watches.get(symbol)
            if watch is None or quote.price <= 0:
                continue
            watch.quoted = quote.price
            if watch.held is not None and not watch.touches(quote.price):
                watch.held.is_disproved = True
            tick = Tick(symbol, quote.price, received_at, quote.exchange_time)
            self._judge(watch.book, tick, source="quote")
        self._hand_over()

    def stops(self, user_id: int, symbols: Iterable[str]) -> list[Stop]:
        """Return a user's armed stops on these instruments."""
        watches = self._watches.get(user_id, {})
        return [
            stop
            for symbol in symbols
            if (watch := watches.get(symbol)) is not None
            for stop in watch.book.stops()
        ]

    def on_crossed(self, found: Crossing) -> None:
        """Hand over a stop that was crossed unseen, if it is still armed as it was then."""
        stop = self._armed.get(found.stop.strategy_id)
        if stop is None or stop.epoch != found.stop.epoch:
            return
        self.disarm(stop.strategy_id)
        self._handed_over[stop.strategy_id] = (stop.epoch, stop.user_id)
        told = {"back_at": str(to_rupees(found.price)), "last_seen_at": found.since}
        stamps = (found.until, None, "gap", self._clock.time())
        self._found.append(Breach(stop, found.reason, found.extreme, *stamps, told))
        self._hand_over()

    def on_refused(self, user_id: int, refused: Sequence[tuple[Tick, Decision]], feed: int = 0) -> None:
        """Take what the gate keeps back, in order.

        What is outside the day's band is held and asked about. What touches a stop after the close
        is told: it will be judged again by the first price of the next session.
        """
        watches = self._watches.get(user_id, {})
        for tick, decision in refused:
            watch = watches.get(tick.symbol)
            if watch is None or not watch.touches(tick.price):
                continue
            if watch.quiet_feed is not None and watch.quiet_feed != feed:
                self._wake(watch, tick.symbol)
            if decision is OUTSIDE_BAND:
                if watch.held is not None and watch.is_taken_back(watch.held):
                    watch.drop()
                hold = watch.hold(tick, feed, Doubt.OUTSIDE_BAND, self._clock.time())
                self._doubt(user_id, watch, hold)
            elif decision is AFTER_CLOSE:
                self._tell_closed(watch.book, tick)

    async def on_price_update(self, symbol: str, ltp: Decimal) -> None:
        """Judge one price against every user's stops on ``symbol``; zero and less are ignored."""
        price = to_units(ltp)
        if price <= 0:
            return
        tick = Tick(symbol, price, self._clock.time())
        for user_id, watches in self._watches.items():
            if (watch := watches.get(symbol)) is not None:
                self._note(user_id, watch, tick, 0)
        self._hand_over()

    # --- judging ------------------------------------------------------------------------

    def _arm(self, stop: Stop) -> None:
        if self._handed_over.get(stop.strategy_id, (-1, 0))[0] >= stop.epoch:
            return  # a stale read of the database: this arming has already had its breach
        known = self._armed.get(stop.strategy_id)
        if known is not None and (known.epoch, known.rule) == (stop.epoch, stop.rule):
            stop = replace(stop, memory=known.memory)  # what was stored may be behind
        if known is not None:
            self.disarm(stop.strategy_id)
        self.wake(stop.symbol)  # before it is watched: the prices until now touched what was armed until now
        watch = self._watches.get(stop.user_id, {}).get(stop.symbol) or self._new_watch(stop)
        watch.book.arm(stop)
        latest = watch.latest
        is_fresh = latest is not None and self._clock.time() - latest.received_at <= LATEST_MAX_AGE_S
        if latest is not None and is_fresh and latest.price not in stop.bounds:
            self._judge(watch.book, latest)

    def _new_watch(self, stop: Stop) -> Watch:
        book = StopBook(stop.user_id, stop.symbol, self._armed)
        watch = Watch(band_percent(stop.symbol), book)
        self._watches.setdefault(stop.user_id, {})[stop.symbol] = watch
        return watch

    def _note(self, user_id: int, watch: Watch, tick: Tick, feed: int) -> None:
        """Do with one tick what ``on_ticks`` does, which has it written out: it is the hot path."""
        if watch.quiet_feed is not None and watch.quiet_feed != feed:
            self._wake(watch, tick.symbol)
        watch.recent.append((tick, feed))
        if watch.agreement.note(feed, tick.price, tick.received_at):
            self._tell_dispute(user_id, watch, tick)
        if watch.touches(tick.price):
            self._touched(user_id, watch, tick, feed)

    def _touched(self, user_id: int, watch: Watch, tick: Tick, feed: int) -> None:
        held = watch.held
        if held is not None and held.why is not Doubt.DISPUTED and watch.has_been_back(held):
            watch.drop()  # that one is over: this is another
            held = None
        if held is None:
            if hold := watch.why_hold(tick, feed, self._clock.time()):
                self._doubt(user_id, watch, hold)
                return
        elif held.why is Doubt.FREAK and is_same_print(held.tick, tick):
            return  # told again, by this feed or by another: the print's second goes on
        self._judge(watch.book, tick, feed, hold=held)
        if held is not None and not watch.touches(held.tick.price):
            watch.held = None  # else the held price touches more than this one: it keeps its time

    def _doubt(self, user_id: int, watch: Watch, hold: Hold) -> None:
        """Hold a touch, unless one is held already, and have it asked about."""
        if watch.held is None:
            watch.held = hold
            self._later(CONFIRM_S, partial(self._confirm, watch, hold))
        if hold.why is not Doubt.DISPUTED:
            try:
                self.on_doubt(Doubted(user_id, hold.feed, hold.tick.symbol, hold.tick.price, hold.why))
            except Exception:  # asking comes second: the held print's second goes on all the same
                logger.exception("that %s is in doubt could not be handed over", hold.tick.symbol)

    def _confirm(self, watch: Watch, hold: Hold) -> None:
        """A held touch has waited long enough: unless it was taken back, it counts."""
        if watch.held is not hold:
            return
        if watch.is_taken_back(hold):
            watch.drop()
            return
        watch.held = None
        self._judge(watch.book, hold.tick, hold.feed, hold=hold)
        self._hand_over()

    def _judge(
        self, book: StopBook, tick: Tick, feed: int = 0, *, hold: Hold | None = None, source: str = "tick"
    ) -> None:
        # What nobody confirmed may cost a position, but never moves a stop that follows the price.
        is_confirmed = hold is None or hold.tick is not tick or hold.why is Doubt.DISPUTED
        for stop in book.take(tick.price):
            try:
                judgement = stop.rule.judge(tick.price, stop.memory)
                if not judgement.is_hit:
                    self._remember(book, stop, judgement.memory if is_confirmed else stop.memory)
                    continue
            except (
                Exception
            ):  # one rule's trouble must not cost the next stop its exit, nor this one its watch
                logger.exception("the stop of strategy %s could not be judged", stop.strategy_id)
                book.arm(stop)
                continue
            self._handed_over[stop.strategy_id] = (stop.epoch, stop.user_id)
            told = self._judged(tick, feed, hold, source)
            stamps = (tick.received_at, tick.exchange_time, source, self._clock.time())
            self._found.append(Breach(stop, judgement.reason, tick.price, *stamps, told))

    def _judged(self, tick: Tick, feed: int, hold: Hold | None, source: str) -> dict[str, Any]:
        told = {} if hold is None else hold.told(self._clock.time())
        if source != "tick":
            return told
        try:
            return {"gate": dict(self.explain(tick, feed)), **told}
        except Exception:  # evidence comes second
            logger.exception("what the gate decided of %s could not be told", tick.symbol)
            return told

    def _remember(self, book: StopBook, stop: Stop, memory: Memory) -> None:
        self.wake(stop.symbol)
        if memory == stop.memory:
            book.arm(stop)
            return
        wiser = self._remembering[stop.strategy_id] = replace(stop, memory=memory)
        book.arm(wiser)

    # --- handing over -------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Hand over what was judged since the last time, as one list of each kind."""
        if not self._found and not self._remembering:
            return
        found, self._found = self._found, []
        wiser = [stop for pk, stop in self._remembering.items() if self._armed.get(pk) is stop]
        self._remembering = {}
        if found:
            try:
                self._on_breaches(by_urgency(found))
            except Exception:
                logger.exception("%d breach(es) could not be handed over: judging them again", len(found))
                for breach in found:  # the database says which of them are still to be armed
                    self._handed_over.pop(breach.stop.strategy_id, None)
        if wiser:
            try:
                self._on_memory(wiser)
            except Exception:
                logger.exception("what %d stop(s) remember could not be handed over", len(wiser))

    def _tell_closed(self, book: StopBook, tick: Tick) -> None:
        for stop in book.reached(tick.price):
            if (
                self._closed.get(stop.strategy_id) != stop.epoch
                and stop.rule.judge(tick.price, stop.memory).is_hit
            ):
                self._closed[stop.strategy_id] = stop.epoch
                self._on_closed(Closed(stop, tick.price, self._clock.time()))

    def _tell_dispute(self, user_id: int, watch: Watch, tick: Tick) -> None:
        try:
            self._on_dispute(Dispute(user_id, tick.symbol, watch.agreement.prices(tick.received_at)))
        except Exception:  # telling is second: the price is judged all the same
            logger.exception("that feeds disagree on %s could not be handed over", tick.symbol)


def _plain() -> StopLossMonitor:
    """For a process without an exit engine: a breach is logged, nothing is sold."""

    def log(breaches: list[Breach]) -> None:
        for breach in breaches:
            logger.warning("%s was touched in a process that works no exits", breach.stop)

    return StopLossMonitor(log, SystemClock(), later=lambda _, call: call())


_singleton = Singleton(_plain)
get_stop_loss_monitor = _singleton.get
set_stop_loss_monitor = _singleton.set
