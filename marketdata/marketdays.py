"""The days on which exchanges are closed, entered from a library and edited by people.

The library knows no holiday that is announced at short notice and no special session: the rows
are ours, what a person entered or deleted stays as it is, and on a day called closed a fresh price
may trigger all the same.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime

from django.db.models import Q

from marketdata.domain.sessions import IST
from marketdata.models import MarketDay

_CODES = {"NSE": "XNSE", "BSE": "XBOM"}  # their derivatives follow them; no library knows the others' days
EXCHANGES = tuple(_CODES)
_DECEMBER = 12


def seed_year(year: int, *, force: bool = False) -> int:
    """Enter a year's holidays for every exchange that has none in it; return how many were entered.

    Args:
        year: Which.
        force: Enter what is missing although the year has days already.

    """
    return sum(_seed(exchange, year) for exchange in EXCHANGES if force or not _has_days(exchange, year))


def seed_ahead(now: float) -> int:
    """Enter the holidays of this year, and in December those of the next; return how many."""
    return sum(seed_year(year) for year in _years(now))


def calendar_warnings(now: float) -> list[str]:
    """Return what is wrong with the calendar, for a person."""
    return [
        f"No market holiday of {year} is entered for {exchange}: run manage.py seed_market_days, or add the days "
        "under Market days in the admin."
        for year in _years(now)
        for exchange in EXCHANGES
        if not _has_days(exchange, year)
    ]


def _years(now: float) -> Collection[int]:
    today = datetime.fromtimestamp(now, UTC).astimezone(IST).date()
    return (today.year, today.year + 1) if today.month == _DECEMBER else (today.year,)


def _has_days(exchange: str, year: int) -> bool:
    return MarketDay.objects.filter(Q(opens_at=None), exchange=exchange, date__year=year).exists()


def _seed(exchange: str, year: int) -> int:
    rows = [
        MarketDay(exchange=exchange, date=day, note=name[:120])
        for day, name in _holidays(exchange, year).items()
    ]
    before = MarketDay.objects.filter(exchange=exchange, date__year=year).count()
    MarketDay.objects.bulk_create(rows, ignore_conflicts=True)
    return MarketDay.objects.filter(exchange=exchange, date__year=year).count() - before


def _holidays(exchange: str, year: int) -> dict[date, str]:
    from holidays import financial_holidays  # of no use to a process that seeds nothing

    return dict(financial_holidays(_CODES[exchange], years=year))
