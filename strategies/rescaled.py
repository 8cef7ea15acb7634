"""Shares whose price has another scale since yesterday: a split, a bonus, a consolidation, a large dividend.

The exchange tells the last close in the new scale; we kept it in the old one. A stop in the old
scale would sell at the open for nothing, so its strategy is suspended until a person has looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import transaction

from marketdata.closings import Closing, of_shares, replace_closing
from marketdata.domain.bands import Band
from marketdata.domain.orders import Quote
from marketdata.domain.prices import to_rupees
from marketdata.domain.sessions import IST, Calendar, Phase
from strategies.models import Strategy
from strategies.services import suspend_strategy

PERCENT = 15
"""A last close that the exchange tells and that is so far from ours is in another scale."""
BEFORE_S = 15 * 60.0
"""How long before the open the exchange is sure to tell yesterday's close, not the one before."""


class Rescaled(NamedTuple):
    symbol: str
    known: Closing
    told: int  # units


class ScaleCheck:
    """Compares the last close that quotes tell with the one that was kept. Times in UNIX seconds."""

    def __init__(self) -> None:
        self._closings: dict[str, Closing] = {}

    def load(self, closings: Mapping[str, Closing]) -> None:
        """Take what was kept, as read from the database."""
        self._closings = dict(closings)

    def found(self, quotes: Mapping[str, Quote], now: float, calendar: Calendar) -> list[Rescaled]:
        """Return the shares whose last close is in another scale."""
        if calendar.always:
            return []
        return [
            Rescaled(symbol, known, told)
            for symbol in of_shares(quotes)
            if (known := self.expected(symbol, now, calendar)) is not None
            and (told := quotes[symbol].close)
            and abs(told - known.price) * 100 > known.price * PERCENT
        ]

    def expected(self, symbol: str, now: float, calendar: Calendar) -> Closing | None:
        """Return the last session's close, where it was kept and can be compared now."""
        known, exchange = self._closings.get(symbol), symbol.partition(":")[0]
        if known is None or not is_comparable(exchange, now, calendar):
            return None
        today = datetime.fromtimestamp(now, UTC).astimezone(IST).date()
        return known if known.day == calendar.previous_session(exchange, today) else None


def is_comparable(exchange: str, now: float, calendar: Calendar) -> bool:
    """Tell whether the session is open, or about to be."""
    return any(calendar.phase(exchange, now + ahead)[0] is Phase.OPEN for ahead in (0.0, BEFORE_S))


def is_ending(exchange: str, now: float, calendar: Calendar) -> bool:
    """Tell whether the session is open and ends within the quarter of an hour: its prices are near the close."""
    phases = [calendar.phase(exchange, now + ahead)[0] for ahead in (0.0, BEFORE_S)]
    return phases == [Phase.OPEN, Phase.AFTER_CLOSE]


def band_around(close: int) -> Band:
    """Return the prices that leave no question whether the scale is still the same."""
    return Band(close * (100 - PERCENT) // 100, close * (100 + PERCENT) // 100)


def suspend_rescaled(rescaled: Rescaled) -> int:
    """Suspend every active strategy on the share, once; return how many. Blocks."""
    exchange, _, tradingsymbol = rescaled.symbol.partition(":")
    known, told = to_rupees(rescaled.known.price), to_rupees(rescaled.told)
    text = (
        f"{rescaled.symbol} closed at {known} on {rescaled.known.day}, and the exchange now tells {told} for that close: "
        "it looks like a split, a bonus or the like. The stop is off. Correct the stop and the quantity, then start "
        "the strategy again."
    )
    with transaction.atomic():
        if not replace_closing(rescaled.symbol, rescaled.known, rescaled.told):
            return 0  # another process has seen it, and a person may have started again since
        rows = Strategy.objects.filter(
            status=Strategy.Status.ACTIVE,
            instrument__exchange=exchange,
            instrument__tradingsymbol=tradingsymbol,
        ).exclude(position=Strategy.Position.NONE)
        return sum(suspend_strategy(row, text) for row in rows)
