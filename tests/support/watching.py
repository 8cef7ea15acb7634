"""A stop-loss monitor in a test: its clock moves when told, and what it hands over is kept."""

from __future__ import annotations

from collections.abc import Callable

from marketdata.domain.ticks import Tick
from strategies.domain.breaches import Breach
from strategies.domain.questions import Closed, Dispute, Doubted
from strategies.domain.rules import FixedStop, Memory, Rule
from strategies.domain.stops import Stop
from strategies.monitor import StopLossMonitor

INFY = "NSE:INFY"
ONE, TWO = 11, 12  # feeds of one user


def stop(
    rule: Rule,
    *,
    strategy_id: int = 1,
    epoch: int = 1,
    user: int = 1,
    symbol: str = INFY,
    quantity: int = 10,
    memory: Memory = None,
) -> Stop:
    return Stop(strategy_id, epoch, user, symbol, rule, quantity, memory)


class House:
    """A monitor with a clock that moves when told, and timers that fire then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.batches: list[list[Breach]] = []
        self.stored: list[Stop] = []
        self.disputes: list[Dispute] = []
        self.doubts: list[Doubted] = []
        self.closed: list[Closed] = []
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self.monitor = StopLossMonitor(
            self.batches.append,
            self,
            later=self.later,
            on_dispute=self.disputes.append,
            on_memory=self.stored.extend,
            on_doubt=self.doubts.append,
            on_closed=self.closed.append,
        )

    @property
    def breaches(self) -> list[Breach]:
        return [breach for batch in self.batches for breach in batch]

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers.append((self.now + seconds, call))

    def move(self, seconds: float) -> None:
        self.now += seconds
        due = [call for at, call in self._timers if at <= self.now]
        self._timers = [(at, call) for at, call in self._timers if at > self.now]
        for call in due:
            call()

    def arm(self, price: int, *, long: bool = True, **fields) -> None:
        self.monitor.arm(stop(FixedStop(price, long), **fields))

    def tick(self, *prices: int, feed: int = ONE, user: int = 1) -> None:
        """Bring prices in one message of a feed."""
        self.monitor.on_ticks(user, [Tick(INFY, price, self.now, int(self.now)) for price in prices], feed)

    def hit(self) -> list[tuple[int, int]]:
        return [(breach.stop.strategy_id, breach.price) for breach in self.breaches]
