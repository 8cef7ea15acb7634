"""How prices move: a seeded walk on the tick grid, drawn back towards where it came from."""

from __future__ import annotations

import random
from dataclasses import dataclass

from marketdata.simulator.instrument import Instrument

_SWING = 8_000  # one step is about 1/8000 of the price
_PULL = 400  # a step takes back 1/400 of the way from the reference


@dataclass(slots=True)
class Walk:
    """One instrument's own sequence of prices: it depends on nothing but seed and symbol."""

    rng: random.Random

    @classmethod
    def of(cls, seed: int, symbol: str) -> Walk:
        return cls(random.Random(f"{seed}:{symbol}"))

    def step(self, instrument: Instrument) -> tuple[int, int]:
        """Return the next price in units, inside the band and above zero, and a quantity."""
        tick = instrument.listing.tick
        swing = max(1.2, instrument.last / tick / _SWING)
        drift = (instrument.listing.reference - instrument.last) / tick / _PULL
        price = instrument.last + round(self.rng.gauss(drift, swing)) * tick
        lots = 1 + int(self.rng.expovariate(0.25))
        return _inside(price, instrument), lots * max(1, instrument.listing.contract.lot_size)


def _inside(price: int, instrument: Instrument) -> int:
    tick = instrument.listing.tick
    lowest, highest = tick, price
    if instrument.upper:
        lowest, highest = instrument.lower + tick, instrument.upper - tick
    return max(lowest, min(price, highest))
