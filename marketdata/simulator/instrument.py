"""One instrument's day: last price, range, volume, price band and book."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from marketdata.simulator.universe import Listing

DEPTH = 5


class Level(NamedTuple):
    """One line of the book. Price in units; an empty line is all zeros."""

    price: int = 0
    quantity: int = 0
    orders: int = 0


NOBODY = Level()


@dataclass(slots=True)
class Instrument:
    """What the exchange holds for one listing. Prices in units, times in UNIX seconds.

    Attributes:
        bid: Scripted best bid; None: at the last price, 0: nobody buys.
        ask: Scripted best ask; None: one tick above, 0: nobody sells.
        band_is_fixed: A band of its own follows the price outwards, as exchanges widen it
            for shares with derivatives; a scripted one does not.

    """

    listing: Listing
    previous_close: int
    last: int
    open: int
    high: int
    low: int
    last_trade_time: int
    lower: int = 0
    upper: int = 0
    band_is_fixed: bool = False
    last_quantity: int = 0
    volume: int = 0
    turnover: int = 0
    bid: int | None = None
    ask: int | None = None
    _band_step: int = field(default=0, repr=False)

    @classmethod
    def at_close(cls, listing: Listing, closed_at: int) -> Instrument:
        """Return an instrument that last traded at yesterday's close."""
        price = listing.reference
        width = price * listing.band_percent // 100 // listing.tick * listing.tick
        lower, upper = (price - width, price + width) if width else (0, 0)
        return cls(listing, price, price, price, price, price, closed_at, lower, upper, _band_step=width // 2)

    @property
    def symbol(self) -> str:
        return self.listing.symbol

    @property
    def average(self) -> int:
        """The day's volume-weighted price, rounded down to a unit."""
        return self.turnover // self.volume if self.volume else self.last

    def trade(self, price: int, quantity: int, at: int) -> None:
        """Print one trade on the tape."""
        self.last, self.last_quantity, self.last_trade_time = price, quantity, at
        self.volume += quantity
        self.turnover += price * quantity
        self.high, self.low = max(self.high, price), min(self.low, price)
        self._widen_band()

    def _widen_band(self) -> None:
        if self.band_is_fixed or not self.upper or not self._band_step:
            return
        while self.last >= self.upper:
            self.upper += self._band_step
        while self.last <= self.lower:
            self.lower -= self._band_step

    def inside_band(self, price: int) -> int:
        """Return the price nearest to ``price`` that the day's band takes."""
        return min(max(price, self.lower), self.upper) if self.upper else price

    def best_bid(self) -> int:
        """Return the best bid, 0 when nobody buys: at the lower end of a fixed band, and for indices."""
        if self.bid is not None:
            return self.bid
        return 0 if self.listing.is_index or (self.upper and self.last <= self.lower) else self.last

    def best_ask(self) -> int:
        """Return the best ask, 0 when nobody sells."""
        if self.ask is not None:
            return self.ask
        if self.listing.is_index or (self.upper and self.last >= self.upper):
            return 0
        return max(self.last, self.best_bid()) + self.listing.tick

    def in_lots(self, quantity: int) -> int:
        """Return a quantity raised to whole lots: no exchange trades a part of one."""
        lot = max(1, self.listing.contract.lot_size)
        return -(-quantity // lot) * lot

    def bids(self) -> list[Level]:
        return self._levels(self.best_bid(), -self.listing.tick)

    def asks(self) -> list[Level]:
        return self._levels(self.best_ask(), self.listing.tick)

    def _levels(self, best: int, step: int) -> list[Level]:
        """Return lines whose sizes only depend on their prices: a book that does not flicker."""
        if not best:
            return [NOBODY] * DEPTH
        lot, tick = 40 * max(1, self.listing.contract.lot_size), self.listing.tick
        prices = range(best, best + DEPTH * step, step)
        sizes = [(price, 1 + price // tick * 7 % 11) for price in prices]
        return [Level(price, orders * lot, orders) if price > 0 else NOBODY for price, orders in sizes]
