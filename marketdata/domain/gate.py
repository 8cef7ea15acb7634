"""What a price may do: be shown, trigger, both or neither.

A price of zero or below is nobody's price. A price that is old, of unknown age or outside the
session is shown but triggers nothing. A price older than one already seen never replaces it,
yet it did trade: while fresh, it may still trigger. Where a feed tells only when the last trade
was, a later trade than the one known is fresh however late it is told; the same one told again
is not news, and whether a rarely traded price is still good has to be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from marketdata.domain.orders import Quote
from marketdata.domain.sessions import Calendar, Phase
from marketdata.domain.ticks import Tick

TICK_MAX_AGE = 10
"""Seconds that an exchange time may be old for its price to trigger."""
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
OUTSIDE_SESSION = Decision("outside_session", is_shown=True, is_actionable=False)
CLOSED_DAY = Decision("closed_day_without_time", is_shown=True, is_actionable=False)
FUTURE = Decision("future", is_shown=True, is_actionable=False)

NO_PRICE = Decision("no_price", is_shown=False, is_actionable=False)
OUT_OF_ORDER = Decision("out_of_order", is_shown=False, is_actionable=False)

DECISIONS = (
    ACCEPTED,
    LATE,
    STALE,
    FIRST_WITHOUT_TIME,
    OUTSIDE_SESSION,
    CLOSED_DAY,
    FUTURE,
    NO_PRICE,
    OUT_OF_ORDER,
)
_OVERTAKEN: Mapping[Decision, Decision] = {ACCEPTED: LATE}


def decide(tick: Tick, *, now: float, phase: Phase, newest: int | None) -> Decision:
    """Judge one tick.

    Args:
        tick: As the feed delivered it.
        now: UNIX seconds.
        phase: Of the tick's exchange at ``now``.
        newest: Latest exchange time seen for this symbol on this feed, if any.

    """
    if tick.price <= 0:
        return NO_PRICE
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
    return OUTSIDE_SESSION if phase is Phase.OUTSIDE else CLOSED_DAY


def _with_time(age_s: float, phase: Phase) -> Decision:
    if age_s > TICK_MAX_AGE:
        return STALE
    if age_s < -FUTURE_TOLERANCE:
        return FUTURE
    # On a day called closed a fresh exchange time outweighs the calendar.
    return OUTSIDE_SESSION if phase is Phase.OUTSIDE else ACCEPTED


def may_trigger_by_quote(exchange_time: int | None, *, now: float, phase: Phase) -> bool:
    """Tell whether a price that was asked for just now may trigger.

    In the session it is fresh on arrival, whenever it last traded. On a day called closed it is
    yesterday's close unless the exchange's own time says otherwise.
    """
    if phase is Phase.CLOSED_DAY:
        return exchange_time is not None and -FUTURE_TOLERANCE <= now - exchange_time <= TICK_MAX_AGE
    return phase is Phase.OPEN


class Gate:
    """``decide`` with what it has to remember: newest time by feed and symbol, phase by exchange."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._newest: dict[tuple[int, str], int] = {}
        self._phases: dict[str, tuple[Phase, float]] = {}
        self.counts: dict[str, int] = {decision.reason: 0 for decision in DECISIONS}

    def set_calendar(self, calendar: Calendar) -> None:
        """Judge by ``calendar`` from the next tick on."""
        self._calendar = calendar
        self._phases.clear()

    def judge(self, tick: Tick, now: float, feed: int = 0) -> Decision:
        """Judge ``tick``, count it by reason, and remember its time.

        Times are compared within one feed (its account; 0: from outside): brokers stamp different
        moments, and what one user's feed has told is no news to another's stops.
        """
        key = (feed, tick.symbol)
        newest = self._newest.get(key)
        decision = decide(tick, now=now, phase=self.phase(tick.symbol, now), newest=newest)
        self.counts[decision.reason] += 1
        # A time from the future is not remembered: every true price after it would look late.
        if decision.is_shown and decision is not FUTURE and tick.exchange_time is not None:
            self._newest[key] = tick.exchange_time
        elif tick.is_trade_time and tick.exchange_time is None:
            self._newest.setdefault(key, 0)  # not traded yet: whatever comes is later
        return decision

    def admits(self, quote: Quote, now: float) -> bool:
        """Tell whether a price that was asked for just now may trigger."""
        phase = self.phase(quote.symbol, now)
        return quote.price > 0 and may_trigger_by_quote(quote.exchange_time, now=now, phase=phase)

    def phase(self, symbol: str, now: float) -> Phase:
        """Return the phase of the symbol's exchange at UNIX time ``now``."""
        exchange = symbol.partition(":")[0]
        known = self._phases.get(exchange)
        if known is None or now >= known[1]:
            known = self._phases[exchange] = self._calendar.phase(exchange, now)
        return known[0]
