"""When contracts expire, computed from a date: no table to grow old.

Exchange holidays are not known here: a contract may expire on one.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import date, timedelta

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKLY_MONTH = "123456789OND"


def last_weekday(year: int, month: int, weekday: int) -> date:
    """Return the last such weekday (0 Monday) of a month."""
    last = date(year, month, monthrange(year, month)[1])
    return last - timedelta(days=(last.weekday() - weekday) % 7)


def month_day(year: int, month: int, day: int) -> date:
    """Return that day of the month, or the working day before it."""
    wanted = date(year, month, min(day, monthrange(year, month)[1]))
    return wanted - timedelta(days=max(0, wanted.weekday() - 4))


def months_from(day: date) -> Iterator[tuple[int, int]]:
    """Yield (year, month) from the month of ``day`` on, without end."""
    year, month = day.year, day.month
    while True:
        yield year, month
        year, month = (year + month // 12, month % 12 + 1)


def monthly(today: date, weekday: int, count: int) -> list[date]:
    """Return the next ``count`` monthly expiries, today's included."""
    found: list[date] = []
    months = months_from(today)
    while len(found) < count:
        expiry = last_weekday(*next(months), weekday)
        if expiry >= today:
            found.append(expiry)
    return found


def monthly_on(today: date, day: int, count: int) -> list[date]:
    """Return the next ``count`` expiries on a fixed day of the month."""
    found: list[date] = []
    months = months_from(today)
    while len(found) < count:
        expiry = month_day(*next(months), day)
        if expiry >= today:
            found.append(expiry)
    return found


def weekly(today: date, weekday: int, count: int) -> list[date]:
    """Return the next ``count`` weekly expiries, today's included."""
    first = today + timedelta(days=(weekday - today.weekday()) % 7)
    return [first + timedelta(weeks=n) for n in range(count)]


def is_monthly(expiry: date, weekday: int) -> bool:
    return expiry == last_weekday(expiry.year, expiry.month, weekday)


def month_code(expiry: date) -> str:
    """Return the year and month of a symbol: ``26NOV``."""
    return f"{expiry:%y}{_MONTHS[expiry.month - 1]}"


def week_code(expiry: date) -> str:
    """Return the year, month and day of a weekly symbol: ``26N24``."""
    return f"{expiry:%y}{_WEEKLY_MONTH[expiry.month - 1]}{expiry:%d}"
