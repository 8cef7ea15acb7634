"""How exchanges are, judged by the times on their prices: halted, or trading when the calendar says not.

One instrument that rests proves nothing; several that were lively and stop together do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from marketdata.domain.gate import TICK_MAX_AGE
from marketdata.domain.sessions import Calendar, Phase, next_midnight

HALT_S = 60.0
"""Without one new time on any instrument of an exchange for so long, it may have halted."""
LIVELY = 3
"""How many instruments must have been lively until then."""
MARGIN_S = 45 * 60.0
"""Around the regular session exchanges do tell prices: auctions before it, a closing session after it."""
STEADY_S = 30.0
"""How long prices must keep coming outside the session to be told of."""


class Kind(StrEnum):
    HALTED = "halted"
    RESUMED = "resumed"
    MISMATCH = "mismatch"  # it trades, and the calendar says that it does not


@dataclass(frozen=True, slots=True)
class ExchangeNews:
    exchange: str
    kind: Kind
    phase: Phase


@dataclass(slots=True)
class _Exchange:
    is_halted: bool = False
    odd_since: float | None = None
    told_until: float = 0.0


@dataclass(slots=True)
class ExchangeWatch:
    """Looks at the newest times every second or so, and tells each thing once."""

    _known: dict[str, _Exchange] = field(default_factory=dict)

    def look(
        self, times: Mapping[str, Iterable[int]], now: float, calendar: Calendar, *, is_alive: bool
    ) -> list[ExchangeNews]:
        """Return what is new.

        Args:
            times: The newest exchange time (UNIX seconds) of every instrument, by exchange; of
                packets, not of trades.
            now: UNIX seconds.
            calendar: When exchanges are to trade.
            is_alive: Some feed is connected and frames arrive: else silence is the feed's, not the exchange's.

        """
        found = [self._look(exchange, sorted(of), now, calendar, is_alive) for exchange, of in times.items()]
        return [news for some in found for news in some]

    def halted(self) -> frozenset[str]:
        """Return the exchanges that have halted, as far as anybody can tell."""
        return frozenset(exchange for exchange, known in self._known.items() if known.is_halted)

    # --- inside ---------------------------------------------------------------------------

    def _look(
        self, exchange: str, times: list[int], now: float, calendar: Calendar, is_alive: bool
    ) -> list[ExchangeNews]:
        if not times:
            return []
        known = self._known.setdefault(exchange, _Exchange())
        phase, until = calendar.phase(exchange, now)
        age_s = now - times[-1]
        news: list[Kind] = []
        if known.is_halted and (age_s <= TICK_MAX_AGE or phase is not Phase.OPEN):
            known.is_halted = False
            news += [Kind.RESUMED] if phase is Phase.OPEN else []
        elif not known.is_halted and is_alive and phase is Phase.OPEN and age_s > HALT_S:
            lively = sum(times[-1] - time <= HALT_S for time in times)
            known.is_halted = lively >= LIVELY and _is_of_this_session(exchange, times[-1], now, calendar)
            news += [Kind.HALTED] if known.is_halted else []
        if self._is_odd(known, exchange, age_s, now, calendar):
            known.told_until = until if until != float("inf") else now + HALT_S
            news.append(Kind.MISMATCH)
        return [ExchangeNews(exchange, kind, phase) for kind in news]

    @staticmethod
    def _is_odd(known: _Exchange, exchange: str, age_s: float, now: float, calendar: Calendar) -> bool:
        sides = (calendar.phase(exchange, now + shift)[0] for shift in (-MARGIN_S, 0.0, MARGIN_S))
        if not 0 <= age_s <= TICK_MAX_AGE or Phase.OPEN in sides:
            known.odd_since = None
            return False
        known.odd_since = now if known.odd_since is None else known.odd_since
        return now - known.odd_since >= STEADY_S and now >= known.told_until


def _is_of_this_session(exchange: str, time: int, now: float, calendar: Calendar) -> bool:
    """Tell whether an exchange has begun: commodities rest for nine hours only, and open with last night's times."""
    return next_midnight(time) == next_midnight(now) and calendar.phase(exchange, time)[0] is Phase.OPEN
