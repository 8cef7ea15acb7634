"""Prices, hours and circuit limits, the same for every broker."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from marketdata.domain.orders import Quote, Side
from marketdata.domain.prices import UNITS_PER_RUPEE, to_rupees, to_units

TICK = UNITS_PER_RUPEE // 20
BASE = 1500 * UNITS_PER_RUPEE
BAND = BASE // 5


@dataclass(slots=True)
class Instrument:
    symbol: str
    lot: int = 1
    freeze: int | None = None
    price: int = BASE
    locked: Side | None = None  # nobody takes an order of this side

    def quote(self, at: float) -> Quote:
        sellers_only, buyers_only = self.locked is Side.SELL, self.locked is Side.BUY
        return Quote(
            self.symbol, self.price, int(at),
            bid=0 if sellers_only else self.price - TICK, ask=0 if buyers_only else self.price + TICK,
            lower=BASE - BAND, upper=BASE + BAND,
        )  # fmt: skip

    def fills_at(self, side: Side, limit: Decimal | None) -> Decimal | None:
        """Return the price in rupees at which an order would trade now; None when it would rest."""
        if self.locked is side:
            return None
        best = self.price - TICK if side is Side.SELL else self.price + TICK
        if limit is not None and (best < to_units(limit) if side is Side.SELL else best > to_units(limit)):
            return None
        return to_rupees(best)


class Market:
    """All instruments, and whether their exchange takes orders."""

    def __init__(self) -> None:
        self.instruments: dict[str, Instrument] = {}
        self.is_open = True

    def lock(self, symbol: str, side: Side) -> None:
        """Take the price to the end of its band, where nobody takes the other side."""
        instrument = self.instruments[symbol]
        instrument.locked = side
        instrument.price = BASE - BAND if side is Side.SELL else BASE + BAND

    def unlock(self) -> None:
        for instrument in self.instruments.values():
            if instrument.locked is not None:
                instrument.locked = None
