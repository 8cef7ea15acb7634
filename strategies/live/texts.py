"""Prices and moments as the page shows them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import lru_cache

_FEWEST = 2


@lru_cache(256)
def decimals(tick_size: Decimal) -> int:
    """Return how many decimals the exchange shows for this tick size (0.05 -> 2, 0.0025 -> 4)."""
    exponent = tick_size.normalize().as_tuple().exponent
    return max(_FEWEST, -exponent) if isinstance(exponent, int) else _FEWEST


def price_text(price: Decimal | None, tick_size: Decimal) -> str | None:
    """Return ``price`` with the decimals of its tick size; finer digits are kept, never rounded."""
    if price is None:
        return None
    exact = price.normalize()
    own = exact.as_tuple().exponent
    places = max(decimals(tick_size), -own if isinstance(own, int) else 0)
    return f"{price:.{places}f}"


def milliseconds(moment: datetime | None) -> int | None:
    """Return UNIX milliseconds, or None."""
    return None if moment is None else int(moment.timestamp() * 1000)
