"""The last known prices for a page that just opened."""

from __future__ import annotations

from collections.abc import Iterable

from marketdata.clock import SystemClock
from marketdata.ltp import get_cached_prices
from strategies.reporting import plain

Known = tuple[str | None, int]
"""Price as text and the UNIX milliseconds of its receipt."""


async def read_prices(symbols: Iterable[str]) -> dict[str, Known]:
    """Return prices by symbol, in one round trip; what is not cached is absent."""
    found = await get_cached_prices(symbols)
    now = SystemClock().time()
    return {symbol: (plain(price.ltp), int((now - price.age_s) * 1000)) for symbol, price in found.items()}
