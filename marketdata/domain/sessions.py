"""When an exchange trades: regular hours as data, and the days that differ.

All hours are IST. The calendar never vetoes fresh evidence: on a day it calls closed, a price
with a fresh exchange time may still trigger, because a missed special session is a missed stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum

IST = timezone(timedelta(hours=5, minutes=30), "IST")
_SATURDAY = 5
_MARCH, _NOVEMBER = 3, 11


@dataclass(frozen=True, slots=True)
class Hours:
    """One day's regular session in IST, ``opens <= t < closes``."""

    opens: time
    closes: time


class Phase(StrEnum):
    OPEN = "open"
    BEFORE_OPEN = "before_open"  # a trading day
    AFTER_CLOSE = "after_close"  # a trading day
    CLOSED_DAY = "closed_day"  # the calendar knows of no session today

    @property
    def is_outside(self) -> bool:
        """Tell whether it is a trading day outside its session: nothing may trigger."""
        return self is Phase.BEFORE_OPEN or self is Phase.AFTER_CLOSE


_EQUITY = Hours(time(9, 15), time(15, 30))
_CURRENCY = Hours(time(9), time(17))
_COMMODITY = Hours(time(9), time(23, 30))
_COMMODITY_WINTER = Hours(time(9), time(23, 55))  # while New York is off summer time

REGULAR_HOURS: Mapping[str, Hours] = {
    "NSE": _EQUITY,
    "BSE": _EQUITY,
    "NFO": _EQUITY,
    "BFO": _EQUITY,
    "CDS": _CURRENCY,
    "BCD": _CURRENCY,
    "MCX": _COMMODITY,
    "NCO": _COMMODITY,
}
# A derivative follows the days of the exchange its underlying trades on.
_PARENT: Mapping[str, str] = {"NFO": "NSE", "BFO": "BSE"}

DayOverrides = Mapping[tuple[str, date], Hours | None]
"""Days that differ, by exchange and date. None: closed."""


def _first_sunday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7)


def is_new_york_summer(day: date) -> bool:
    """Tell whether New York has summer time: second Sunday of March to first of November."""
    begins = _first_sunday(day.year, _MARCH) + timedelta(days=7)
    return begins <= day < _first_sunday(day.year, _NOVEMBER)


def regular_hours(exchange: str, day: date) -> Hours | None:
    """Return the usual hours; None at a weekend and for an exchange that is not listed here."""
    if day.weekday() >= _SATURDAY:
        return None
    hours = REGULAR_HOURS.get(exchange)
    return _COMMODITY_WINTER if hours is _COMMODITY and not is_new_york_summer(day) else hours


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which hours hold on which day.

    Attributes:
        overrides: Days whose hours differ from the usual ones.
        always: Every time-of-day and calendar rule is off: each exchange is open.

    """

    overrides: DayOverrides = field(default_factory=dict)
    always: bool = False

    def hours(self, exchange: str, day: date) -> Hours | None:
        """Return the session of ``day``, or None when the calendar calls it closed."""
        for name in (exchange, _PARENT.get(exchange, exchange)):
            if (name, day) in self.overrides:
                return self.overrides[name, day]
        return regular_hours(exchange, day)

    def previous_session(self, exchange: str, day: date) -> date:
        """Return the last day before ``day`` on which the exchange had a session."""
        days = (day - timedelta(days=back) for back in range(1, 31))
        return next((one for one in days if self.hours(exchange, one) is not None), day - timedelta(days=1))

    def is_open(self, exchange: str, at: datetime) -> bool:
        """Tell whether the regular session is open at ``at`` (timezone-aware).

        Raises:
            ValueError: ``at`` has no timezone.

        """
        if at.tzinfo is None:
            raise ValueError(f"{at.isoformat()} has no timezone: pass an aware datetime")
        return self.phase(exchange, at.timestamp())[0] is Phase.OPEN

    def phase(self, exchange: str, now: float) -> tuple[Phase, float]:
        """Return the phase at UNIX time ``now`` and until when it holds at the latest."""
        if self.always:
            return Phase.OPEN, float("inf")
        local = datetime.fromtimestamp(now, UTC).astimezone(IST)
        hours = self.hours(exchange, local.date())
        midnight = _unix(local.date() + timedelta(days=1), time())
        if hours is None:
            return Phase.CLOSED_DAY, midnight
        opens, closes = _unix(local.date(), hours.opens), _unix(local.date(), hours.closes)
        if now < opens:
            return Phase.BEFORE_OPEN, opens
        return (Phase.OPEN, closes) if now < closes else (Phase.AFTER_CLOSE, midnight)


def next_midnight(now: float) -> float:
    """Return when the day in India ends that UNIX time ``now`` is in."""
    return _unix(datetime.fromtimestamp(now, UTC).astimezone(IST).date() + timedelta(days=1), time())


def _unix(day: date, at: time) -> float:
    return datetime.combine(day, at, IST).timestamp()


def is_open(exchange: str, at: datetime, overrides: DayOverrides | None = None) -> bool:
    """Tell whether the exchange's regular session is open at ``at`` (timezone-aware)."""
    return Calendar(overrides or {}).is_open(exchange, at)
