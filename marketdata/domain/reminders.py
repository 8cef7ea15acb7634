"""When to remind of a login that will be missing in today's session. Standard library only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from marketdata.domain.sessions import IST, Calendar, Hours

TIMES = (time(8, 30), time(8, 55), time(9, 5))
LAST_ONE_UNTIL = time(9, 15)
"""From then on what is not watched is told as such."""


@dataclass(frozen=True, slots=True)
class Reminder:
    """The one that is due. ``at``: since when, UNIX time; ``is_first`` of the day, which only informs."""

    at: float
    is_first: bool


def is_login_missing(now: float, valid_until: float, exchanges: Collection[str], calendar: Calendar) -> bool:
    """Tell whether a login ends before today's sessions do.

    Args:
        now: UNIX time.
        valid_until: When the login ends, UNIX time; ``-inf`` without one, ``inf`` when nobody knows.
        exchanges: Those with an armed stop or an open exit; none: nothing is missed.
        calendar: Which hours hold; one that is always open knows of no day, so of no login for it.

    """
    local = datetime.fromtimestamp(now, UTC).astimezone(IST)
    sessions = [] if calendar.always else _sessions(exchanges, local.date(), calendar)
    if not sessions:
        return False
    closes = _unix(local.date(), max(hours.closes for hours in sessions))
    return now < closes and valid_until < closes


def due_reminder(
    now: float, valid_until: float, exchanges: Collection[str], calendar: Calendar
) -> Reminder | None:
    """Return the reminder of this part of the morning; each is to be sent once. Arguments as above."""
    if not is_login_missing(now, valid_until, exchanges, calendar):
        return None
    local = datetime.fromtimestamp(now, UTC).astimezone(IST)
    begun = [at for at in TIMES if at <= local.time() < LAST_ONE_UNTIL]
    return Reminder(_unix(local.date(), begun[-1]), len(begun) == 1) if begun else None


def _sessions(exchanges: Collection[str], day: date, calendar: Calendar) -> list[Hours]:
    return [hours for exchange in exchanges if (hours := calendar.hours(exchange, day)) is not None]


def _unix(day: date, at: time) -> float:
    return datetime.combine(day, at, IST).timestamp()
