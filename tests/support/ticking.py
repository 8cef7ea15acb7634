"""The real tick pipeline and the real monitor, with a clock that moves when told and a broker to ask.

The broker is the smallest there can be: a quote that is true, or none.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import count

from marketdata.domain.orders import Quote
from marketdata.domain.prices import to_units
from marketdata.domain.sessions import IST, Calendar
from marketdata.domain.ticks import Tick
from marketdata.processor import TickProcessor
from strategies.domain.breaches import Breach
from strategies.domain.questions import Closed, Doubted
from strategies.domain.rules import FixedStop
from strategies.domain.stops import Stop
from strategies.monitor import StopLossMonitor

MONDAY = datetime(2026, 11, 23, 11, 0, tzinfo=IST).timestamp()
USER = 1
ONE, TWO = 11, 12
SPACING_S = 1.0


def units(rupees: str | float) -> int:
    return to_units(Decimal(str(rupees)))


@dataclass
class Market:
    """What a quote would say; ``limits`` are the day's, none where the exchange sets none."""

    price: int
    limits: tuple[int, int] | None = None
    latency_s: float | None = 0.2  # None: the broker does not answer

    def quote(self, symbol: str, now: float) -> Quote:
        lower, upper = self.limits or (None, None)
        return Quote(symbol, self.price, int(now), lower=lower, upper=upper)


class TickHouse:
    """Armed stops, and ticks that come when the test says."""

    def __init__(self, now: float = MONDAY, *, calendar: Calendar | None = None) -> None:
        self.now = now
        self.breaches: list[Breach] = []
        self.closed: list[Closed] = []
        self.doubts: list[Doubted] = []
        self.markets: dict[str, Market] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self._asked_at: dict[str, float] = {}
        self.monitor = StopLossMonitor(
            self.breaches.extend,
            self,
            later=self.later,
            on_doubt=self._ask,
            on_closed=self.closed.append,
        )
        self.processor = TickProcessor(monitor=self.monitor, calendar=calendar or Calendar(), clock=self)
        self.monitor.explain = self.processor.gate.explain

    @property
    def counts(self) -> dict[str, int]:
        return {reason: n for reason, n in self.processor.gate.counts.items() if n}

    # --- a clock ------------------------------------------------------------------------

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now + seconds, next(self._serial), call))

    def move(self, seconds: float) -> None:
        """Let time pass; whatever is due on the way happens at its own moment."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            at, _, call = heapq.heappop(self._timers)
            self.now = max(at, self.now)
            call()
        self.now = end

    # --- what happens -------------------------------------------------------------------

    def arm(self, symbol: str, price: int, *, long: bool = True, strategy_id: int = 1) -> None:
        self.monitor.arm(Stop(strategy_id, 1, USER, symbol, FixedStop(price, long), 10))

    def tick(self, symbol: str, price: int, *, feed: int = ONE, age: float = 0.0, **fields) -> None:
        """Bring one tick; ``age``: how old its exchange time is; ``exchange_time`` replaces it."""
        fields = {"exchange_time": int(self.now - age), **fields}
        self.processor.accept(USER, [Tick(symbol, price, self.now, **fields)], feed)

    def snapshot(self, symbol: str) -> None:
        """Have the quote judged, as at every connection."""
        self._answer(symbol)

    def _ask(self, doubted: Doubted) -> None:
        self.doubts.append(doubted)
        market = self.markets.get(doubted.symbol)
        if market is None or market.latency_s is None:
            return
        if self._asked_at.get(doubted.symbol, float("-inf")) > self.now:
            return  # a question is under way, or about to be
        begins = max(self.now, self._asked_at.get(doubted.symbol, 0.0) + SPACING_S)
        self._asked_at[doubted.symbol] = begins + market.latency_s
        self.later(begins + market.latency_s - self.now, lambda: self._answer(doubted.symbol))

    def _answer(self, symbol: str) -> None:
        quote = self.markets[symbol].quote(symbol, self.now)
        if self.processor.gate.admits(quote, self.now):
            self.monitor.on_quotes(USER, {symbol: quote}, self.now)
