"""What prints when: the random walks at their rate, and scripts."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from marketdata.domain.clock import Clock
from marketdata.simulator.exchange import Exchange
from marketdata.simulator.prices import Walk

_BEAT_S = 0.02
_BURST = 5_000  # after a pause of the machine, do not try to catch up with all of it

logger = logging.getLogger(__name__)


class Tape:
    """Moves the prices somebody looks at, ``rate`` ticks per second over all of them.

    The n-th price of an instrument depends on the seed alone; which instrument comes next,
    on the seed and on what is watched.
    """

    def __init__(self, exchange: Exchange, clock: Clock, *, seed: int, rate: float) -> None:
        self.rate = rate
        self._exchange = exchange
        self._clock = clock
        self._seed = seed
        self._choice = random.Random(f"{seed}:tape")
        self._walks: dict[str, Walk] = {}

    async def run(self) -> None:
        """Print ticks until cancelled."""
        owed, before = 0.0, self._clock.monotonic()
        while True:
            await self._clock.sleep(_BEAT_S)
            now = self._clock.monotonic()
            owed, before = min(owed + self.rate * (now - before), _BURST), now
            while owed >= 1:
                owed -= 1
                self.step()
            self._exchange.expire()

    def step(self) -> None:
        """Print the next tick of an instrument that somebody watches."""
        symbols = self._exchange.active()
        if symbols:
            self.move(self._choice.choice(symbols))

    def move(self, symbol: str) -> None:
        """Print the next tick of one instrument's walk."""
        walk = self._walks.get(symbol) or self._walks.setdefault(symbol, Walk.of(self._seed, symbol))
        price, quantity = walk.step(self._exchange.instrument(symbol))
        self._exchange.trade(symbol, price, quantity)

    async def play(self, symbol: str, prices: Sequence[int], gap_s: float = 0.0, age_s: float = 0.0) -> None:
        """Print scripted prices in order, ``gap_s`` apart, stamped ``age_s`` ago."""
        for number, price in enumerate(prices):
            if number and gap_s:
                await self._clock.sleep(gap_s)
            elif number % 200 == 199:
                await self._clock.sleep(0)  # lets the sockets send
            self._exchange.trade(symbol, price, age_s=age_s)
