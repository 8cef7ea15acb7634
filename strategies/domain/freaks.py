"""Prints too far from the last prices to be acted on alone.

A single wild print is held for a second one, or for a second: whichever comes first. So a crash
is acted on at its second tick, and a print that is taken back sells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from marketdata.domain.instruments import is_option
from marketdata.domain.ticks import Tick

WINDOW_S = 1.0
"""The prices of so long before a print are what it is compared with."""
RECENT = 16
"""How many prices of an instrument are kept for that, whatever their age."""
BAND_PERCENT, OPTION_BAND_PERCENT = 20, 50


class Doubt(StrEnum):
    """Why a touch is held."""

    DISPUTED = "disputed"  # the user's feeds have disagreed for a while
    FREAK = "freak"  # far from the last second's prices
    OUTSIDE_BAND = "outside_band"  # outside what the exchange allows today


def band_percent(symbol: str) -> int:
    """Return how far a print may be from the last prices to be acted on at once."""
    return OPTION_BAND_PERCENT if is_option(symbol) else BAND_PERCENT


def reference(before: Sequence[Tick], at: float, quoted: int | None) -> int | None:
    """Return the price to compare a print with (units): the median, the lower of two; None when nothing is known.

    Args:
        before: The latest actionable ticks, oldest first, without the print itself.
        at: When the print came, UNIX seconds.
        quoted: What a quote said last, where no tick has come yet.

    """
    if not before:
        return quoted
    recent = sorted([tick.price for tick in before if at - tick.received_at <= WINDOW_S])
    return recent[(len(recent) - 1) // 2] if recent else before[-1].price


def is_freak(price: int, compared: int | None, percent: int) -> bool:
    """Tell whether a print is further from ``compared`` than ``percent``."""
    return compared is not None and abs(price - compared) * 100 > compared * percent


def is_same_print(one: Tick, other: Tick) -> bool:
    """Tell whether two ticks tell of the same print: then the second confirms nothing."""
    return one.price == other.price and one.exchange_time == other.exchange_time
