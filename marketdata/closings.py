"""What instruments last traded at on a day: with it, the next morning shows a split, a bonus, a consolidation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import NamedTuple

from marketdata.domain.prices import to_rupees, to_units
from marketdata.models import ClosingPrice


class Closing(NamedTuple):
    """A day's last price, units."""

    price: int
    day: date


def read_closings() -> dict[str, Closing]:
    """Return what is known, by symbol. Blocks."""
    return {row.symbol: Closing(to_units(row.price), row.day) for row in ClosingPrice.objects.all()}


def write_closings(prices: Mapping[str, int], day: date) -> None:
    """Keep a day's last prices (units) so far. Blocks."""
    ClosingPrice.objects.bulk_create(
        [ClosingPrice(symbol=symbol, price=to_rupees(price), day=day) for symbol, price in prices.items()],
        update_conflicts=True,
        unique_fields=["symbol"],
        update_fields=["price", "day"],
    )


def replace_closing(symbol: str, known: Closing, price: int) -> bool:
    """Put the price that an exchange now tells for that day; False when somebody else has. Blocks."""
    rows = ClosingPrice.objects.filter(symbol=symbol, price=to_rupees(known.price), day=known.day)
    return rows.update(price=to_rupees(price)) == 1


def of_shares(symbols: Iterable[str]) -> list[str]:
    """Return the symbols whose price an issuer's decision can change overnight."""
    return [symbol for symbol in symbols if symbol.startswith(("NSE:", "BSE:"))]
