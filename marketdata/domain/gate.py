"""What a price may do: be shown, trigger, both or neither.

A price of zero or below is nobody's price, and one outside the day's band is nobody's until a
quote or a second has shown otherwise. A price that is old, of unknown age or outside the
session is shown but triggers nothing. A price older than one already seen never replaces it,
yet it did trade: while fresh, it may still trigger. Where a feed tells only when the last trade
was, a later trade than the one known is fresh however late it is told; the same one told again
is not news, and whether a rarely traded price is still good has to be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from marketdata.domain.bands import ANY, HIGHEST, Band, band_of
from marketdata.domain.orders import Quote
from marketdata.domain.sessions import Calendar, Phase, next_midnight
from marketdata.domain.ticks import Tick

TICK_MAX_AGE = 10
"""Seconds that an exchange time may be old for its price to trigger."""
DOUBT_S = 1.0
"""How long a band may keep a price back that nobody could ask about."""
SETTLED_S = 2.0
"""How long a quote speaks against a feed that goes on outside the band: brokers answer one a second."""
FUTURE_TOLERANCE = 30
"""Seconds that an exchange may be ahead of this machine's clock; above that, one of them is wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What one tick may do. Compared by identity: the ones below are all there are."""

    reason: str
    is_shown: bool
    is_actionable: bool


ACCEPTED = Decision("accepted", is_shown=True, is_actionable=True)
LATE = Decision("late", is_shown=False, is_actionable=True)  # overtaken by a newer price, but fresh

STALE = Decision("stale", is_shown=True, is_actionable=False)
FIRST_WITHOUT_TIME = Decision("first_without_time", is_shown=True, is_actionable=False)
BEFORE_OPEN = Decision("before_open", is_shown=True, is_actionable=False)
AFTER_CLOSE = Decision("after_close", is_shown=True, is_actionable=False)
CLOSED_DAY = Decision("closed_day_without_time", is_shown=True, is_actionable=False)
FUTURE = Decision("future", is_shown=True, is_actionable=False)

NO_PRICE = Decision("no_price", is_shown=False, is_actionable=False)
OUT_OF_ORDER = Decision("out_of_order", is_shown=False, is_actionable=False)
IMPOSSIBLE = Decision("impossible", is_shown=False, is_actionable=False)  # and could not trigger anyway
OUTSIDE_BAND = Decision("outside_band", is_shown=False, is_actionable=False)  # being asked about
DISPROVED = Decision("disproved", is_shown=False, is_actionable=False)  # asked about: a quote says otherwise

DECISIONS = (
    ACCEPTED,
    LATE,
    STALE,
    FIRST_WITHOUT_TIME,
    BEFORE_OPEN,
    AFTER_CLOSE,
    CLOSED_DAY,
    FUTURE,
    NO_PRICE,
    OUT_OF_ORDER,
    IMPOSSIBLE,
    OUTSIDE_BAND,
    DISPROVED,
)
_OVERTAKEN: Mapping[Decision, Decision] = {ACCEPTED: LATE}
_BY_PHASE: Mapping[Phase, Decision] = {Phase.BEFORE_OPEN: BEFORE_OPEN, Phase.AFTER_CLOSE: AFTER_CLOSE}


def decide(tick: Tick, *, now: float, phase: Phase, newest: int | None) -> Decision:
    """Judge one tick by itself; which prices are possible at all, ``Gate`` knows.

    Args:
        tick: As the feed delivered it.
        now: UNIX seconds.
        phase: Of the tick's exchange at ``now``.
        newest: Latest exchange time seen for this symbol on this feed, if any.

    """
    return NO_PRICE if tick.price <= 0 else _possible(tick, now, phase, newest)


def _possible(tick: Tick, now: float, phase: Phase, newest: int | None) -> Decision:
    if tick.exchange_time is None:
        return _without_time(tick, phase)
    is_news = tick.is_trade_time and not tick.is_first and newest is not None and tick.exchange_time > newest
    if is_news and phase is Phase.OPEN:
        return FUTURE if now - tick.exchange_time < -FUTURE_TOLERANCE else ACCEPTED
    decision = _with_time(now - tick.exchange_time, phase)
    if newest is not None and tick.exchange_time < newest:
        return _OVERTAKEN.get(decision, OUT_OF_ORDER)
    return decision


def _without_time(tick: Tick, phase: Phase) -> Decision:
    # A broker answers a subscription with its last known value, which may be yesterday's.
    if tick.is_first:
        return FIRST_WITHOUT_TIME
    if phase is Phase.OPEN:
        return ACCEPTED
    return _BY_PHASE.get(phase, CLOSED_DAY)


def _with_time(age_s: float, phase: Phase) -> Decision:
    if age_s > TICK_MAX_AGE:
        return STALE
    if age_s < -FUTURE_TOLERANCE:
        return FUTURE
    # On a day called closed a fresh exchange time outweighs the calendar.
    return ACCEPTED if phase is Phase.OPEN else _BY_PHASE.get(phase, ACCEPTED)


def may_trigger_by_quote(exchange_time: int | None, *, now: float, phase: Phase) -> bool:
    """Tell whether a price that was asked for just now may trigger.

    In the session it is fresh on arrival, whenever it last traded. On a day called closed it is
    yesterday's close unless the exchange's own time says otherwise.
    """
    if phase is Phase.CLOSED_DAY:
        return exchange_time is not None and -FUTURE_TOLERANCE <= now - exchange_time <= TICK_MAX_AGE
    return phase is Phase.OPEN


@dataclass(slots=True)
class _Doubt:
    """A feed's prices are outside the band, since when, and whether a quote has said otherwise."""

    since: float
    seen: Tick | None  # the feed's last price inside the band: another one ends the doubt
    is_settled: bool = False


class _Known:
    """What is known of one symbol on one feed. Read with every tick, so it is one look-up."""

    __slots__ = ("doubt", "has_shown", "lower", "newest", "phase", "seen", "until", "upper")

    def __init__(self) -> None:
        self.newest: int | None = None
        self.seen: Tick | None = None
        self.phase = Phase.CLOSED_DAY
        self.until = float("-inf")  # when phase and band have to be looked at again
        self.lower, self.upper = ANY
        self.doubt: _Doubt | None = None
        self.has_shown = False  # since a tick was remembered


class Accepted(NamedTuple):
    """Prices (units, both ends included) that are accepted when they are fresh.

    Attributes:
        newest: The newest exchange time known, UNIX seconds; 0: none.
        until: UNIX seconds when this has to be looked at again.

    """

    low: int
    high: int
    newest: int
    until: float


class Gate:
    """``decide`` with what it has to remember: newest time by feed and symbol, phases, bands.

    A price outside the day's band is refused while that is being asked about, for ``DOUBT_S`` at
    most. A quote that contradicts it settles the matter for ``SETTLED_S``: two sources against one.
    """

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._known: dict[int, dict[str, _Known]] = {}
        self._phases: dict[str, tuple[Phase, float]] = {}
        self._bands: dict[str, tuple[Band, float]] = {}  # and until when it holds
        self.counts: dict[str, int] = {decision.reason: 0 for decision in DECISIONS}
        self.on_change: Callable[[str | None], None] = lambda _: None
        """Called when other prices of a symbol (None: of all) are possible than before."""
        self.halted: frozenset[str] = frozenset()
        """Exchanges that have halted: their prices are from before, whenever they are asked for."""

    @property
    def calendar(self) -> Calendar:
        return self._calendar

    def set_calendar(self, calendar: Calendar) -> None:
        """Judge by ``calendar`` from the next tick on."""
        self._calendar = calendar
        self._phases.clear()
        for of_feed in self._known.values():
            for known in of_feed.values():
                known.until = float("-inf")
        self.on_change(None)

    def judge(self, tick: Tick, now: float, feed: int = 0) -> Decision:
        """Judge ``tick``, count it by reason, and remember its time.

        Times are compared within one feed (its account; 0: from outside): brokers stamp different
        moments, and what one user's feed has told is no news to another's stops.
        """
        try:
            known = self._known[feed][tick.symbol]
        except KeyError:
            known = self._known.setdefault(feed, {}).setdefault(tick.symbol, _Known())
        if now >= known.until:
            self._renew(known, tick.symbol, now)
        if known.lower <= tick.price <= known.upper:
            decision = _possible(tick, now, known.phase, known.newest)
            known.seen = tick
        else:
            decision = self._outside_band(known, tick, now)
        self.counts[decision.reason] += 1
        if decision.is_shown:
            known.has_shown = True
        # A time from the future is not remembered: every true price after it would look late.
        if decision.is_shown and decision is not FUTURE and tick.exchange_time is not None:
            known.newest = tick.exchange_time
        elif tick.is_trade_time and tick.exchange_time is None and known.newest is None:
            known.newest = 0  # not traded yet: whatever comes is later
        return decision

    def accepted(self, symbol: str, now: float, feed: int) -> Accepted | None:
        """Return which fresh prices would be accepted as a matter of course; None: each has to be judged."""
        known = self._known.get(feed, {}).get(symbol)
        if known is None or now >= known.until or known.phase is not Phase.OPEN:
            return None
        if known.doubt is not None and known.doubt.seen is known.seen:
            return None
        return Accepted(known.lower, known.upper, known.newest or 0, known.until)

    def remember(self, tick: Tick, newest: int, feed: int) -> None:
        """Remember the last tick that was accepted as a matter of course, and the newest time of such.

        ``count_accepted`` counts them.
        """
        known = self._known[feed][tick.symbol]
        known.seen, known.has_shown = tick, False
        if newest:
            known.newest = max(newest, known.newest or 0)

    def has_shown(self, symbol: str, feed: int) -> bool:
        """Tell whether a tick may have been shown since one was remembered."""
        return self._known[feed][symbol].has_shown

    def count_accepted(self, ticks: int) -> None:
        self.counts[ACCEPTED.reason] += ticks

    def admits(self, quote: Quote, now: float) -> bool:
        """Tell whether a price that was asked for just now may trigger; keep the band it tells."""
        if quote.price <= 0:
            return False
        self._settle(quote, now)
        phase = self.phase(quote.symbol, now)
        if quote.symbol.partition(":")[0] in self.halted:
            phase = Phase.CLOSED_DAY  # as on a day called closed, its own time has to say otherwise
        return may_trigger_by_quote(quote.exchange_time, now=now, phase=phase)

    def phase(self, symbol: str, now: float) -> Phase:
        """Return the phase of the symbol's exchange at UNIX time ``now``."""
        return self._phase(symbol, now)[0]

    def takes_orders(self, symbol: str, now: float) -> bool:
        """Tell whether the symbol's exchange takes orders: in the session, or where it evidently trades."""
        phase = self.phase(symbol, now)
        if phase is not Phase.CLOSED_DAY:
            return phase is Phase.OPEN
        known = [of_feed[symbol].newest or 0 for of_feed in self._known.values() if symbol in of_feed]
        return abs(now - max(known, default=0)) <= TICK_MAX_AGE

    def band(self, symbol: str, now: float) -> Band:
        """Return which prices are possible today."""
        band, until = self._bands.get(symbol, (ANY, now))
        return band if now < until else ANY

    def presume(self, symbol: str, band: Band, now: float) -> None:
        """Ask about prices outside ``band`` until a quote has told the day's."""
        if now >= self._bands.get(symbol, (ANY, now))[1]:
            self._set_band(symbol, band, now)

    def packet_times(self) -> dict[str, list[int]]:
        """Return the newest time of every instrument by exchange, of feeds that tell packets' times."""
        times: dict[str, list[int]] = {}
        for of_feed in self._known.values():
            for symbol, known in of_feed.items():
                if known.newest and known.seen is not None and not known.seen.is_trade_time:
                    times.setdefault(symbol.partition(":")[0], []).append(known.newest)
        return times

    def explain(self, tick: Tick, feed: int) -> Mapping[str, object]:
        """Return what a tick was judged by, to be kept with what it led to."""
        known = self._known.get(feed, {}).get(tick.symbol)
        if known is None:
            return {}
        age_s = None if tick.exchange_time is None else _to_ms(tick.received_at - tick.exchange_time)
        overtaken = tick.exchange_time is not None and tick.exchange_time < (known.newest or 0)
        return {
            "decision": (LATE if overtaken else ACCEPTED).reason,
            "phase": known.phase,
            "age_s": age_s,
        }

    # --- inside -----------------------------------------------------------------------------

    def _phase(self, symbol: str, now: float) -> tuple[Phase, float]:
        exchange = symbol.partition(":")[0]
        known = self._phases.get(exchange)
        if known is None or now >= known[1]:
            known = self._phases[exchange] = self._calendar.phase(exchange, now)
        return known

    def _renew(self, known: _Known, symbol: str, now: float) -> None:
        known.phase, until = self._phase(symbol, now)
        known.lower, known.upper = self.band(symbol, now)
        known.until = min(until, self._bands.get(symbol, (ANY, until))[1]) if known.upper < HIGHEST else until

    def _outside_band(self, known: _Known, tick: Tick, now: float) -> Decision:
        if tick.price <= 0:
            return NO_PRICE
        otherwise = _possible(tick, now, known.phase, known.newest)
        if not otherwise.is_actionable:
            return IMPOSSIBLE
        doubt = known.doubt
        is_over = doubt is not None and doubt.is_settled and now - doubt.since >= SETTLED_S
        if doubt is None or is_over or doubt.seen is not known.seen:
            known.doubt = _Doubt(now, known.seen)
            return OUTSIDE_BAND
        if doubt.is_settled:
            return DISPROVED
        if now - doubt.since < DOUBT_S:
            return OUTSIDE_BAND
        self._set_band(tick.symbol, ANY, now)  # nobody could confirm it in time
        return otherwise

    def _settle(self, quote: Quote, now: float) -> None:
        self._set_band(quote.symbol, band_of(quote, self.band(quote.symbol, now)), now)
        for of_feed in self._known.values():
            known = of_feed.get(quote.symbol)
            if known is not None and known.doubt is not None:
                is_open = known.doubt.seen is known.seen  # else a price inside the band has ended it already
                known.doubt = _Doubt(now, known.seen, is_settled=True) if is_open else None

    def _set_band(self, symbol: str, band: Band, now: float) -> None:
        self.on_change(symbol)
        self._bands[symbol] = (band, next_midnight(now))
        for of_feed in self._known.values():
            if (known := of_feed.get(symbol)) is not None:
                known.until = float("-inf")


def _to_ms(seconds: float) -> float:
    """Cut off what is below a millisecond: a decision waits for this, and rounding takes longer."""
    return int(seconds * 1000) / 1000
