"""How a strategy and an exit are, in the words of the live page, for badges of the admin."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from marketdata.badges import Said
from marketdata.wanted import read_calendar
from strategies.live.state import Market, present_exits, strategy_row
from strategies.live.words import exit_words
from strategies.models import Exit, Strategy
from strategies.protection import is_held


def present_market() -> Market:
    """Return this moment and its calendar. Blocks: one short query."""
    return Market(timezone.now(), read_calendar(always=settings.MARKET_HOURS == "always"))


def with_parts(rows: QuerySet[Strategy]) -> QuerySet[Strategy]:
    """Read along what a badge is made of; an account once for all its strategies."""
    parts: Any = ("account__listener", present_exits())
    return rows.select_related("instrument", "user").prefetch_related(*parts).annotate(is_held=is_held())


def strategy_badge(strategy: Strategy, market: Market) -> Said:
    """Return how a strategy of ``with_parts`` stands."""
    row = strategy_row(strategy, market)
    return row["state"], row["tone"]


def exit_badge(row: Exit) -> Said:
    """Return how an exit stands; its orders should have been prefetched."""
    said = exit_words(row)
    return said.text, said.tone
