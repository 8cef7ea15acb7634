"""The rule of a stop, and the stops of one instrument in the order a falling price meets them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

NO_FLOOR = 0
"""A floor no accepted price reaches: prices are above zero."""

NO_CEILING = 1 << 62
"""A ceiling no price reaches."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One armed stop-loss.

    Attributes:
        epoch: Which arming of the strategy this is; every edit makes a new one.
        price: Units.
        is_long: A bought position, left by selling; else a sold one, left by buying.

    """

    strategy_id: int
    epoch: int
    user_id: int
    symbol: str
    price: int
    is_long: bool


def is_hit(stop: Stop, price: int) -> bool:
    """Tell whether ``price`` (units) touches the stop. Equality is a breach."""
    return price <= stop.price if stop.is_long else price >= stop.price


class StopBook:
    """The armed stops of one user on one instrument.

    ``floor`` is the highest long stop and ``ceiling`` the lowest short one: while
    ``floor < price < ceiling`` nothing is hit, and that comparison is all a tick costs.
    Arming and disarming are O(log n), taking k hit stops O(k log n).
    """

    __slots__ = ("_armed", "_longs", "_shorts", "ceiling", "floor")

    def __init__(self) -> None:
        self.floor = NO_FLOOR
        self.ceiling = NO_CEILING
        self._armed: dict[int, Stop] = {}
        # (key, strategy, epoch), nearest first; an entry whose stop is no longer armed is dropped when met.
        self._longs: list[tuple[int, int, int]] = []
        self._shorts: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self._armed)

    def get(self, strategy_id: int) -> Stop | None:
        return self._armed.get(strategy_id)

    def arm(self, stop: Stop) -> None:
        """Arm ``stop``; an earlier one of the same strategy is replaced."""
        self._armed[stop.strategy_id] = stop
        key = -stop.price if stop.is_long else stop.price
        heapq.heappush(self._longs if stop.is_long else self._shorts, (key, stop.strategy_id, stop.epoch))
        self._settle()

    def disarm(self, strategy_id: int) -> None:
        """Forget the strategy's stop, if it has one."""
        if self._armed.pop(strategy_id, None) is not None:
            self._settle()

    def take_hit(self, price: int) -> list[Stop]:
        """Disarm and return the stops that ``price`` touches, nearest first."""
        hit = self._pop_while(self._longs, lambda stop: price <= stop.price)
        hit += self._pop_while(self._shorts, lambda stop: price >= stop.price)
        self._settle()
        return hit

    def _pop_while(self, heap: list[tuple[int, int, int]], hit: Callable[[Stop], bool]) -> list[Stop]:
        taken: list[Stop] = []
        while (stop := self._nearest(heap)) is not None and hit(stop):
            heapq.heappop(heap)
            del self._armed[stop.strategy_id]
            taken.append(stop)
        return taken

    def _nearest(self, heap: list[tuple[int, int, int]]) -> Stop | None:
        while heap:
            key, strategy_id, epoch = heap[0]
            stop = self._armed.get(strategy_id)
            if stop is not None and stop.epoch == epoch and abs(key) == stop.price:
                return stop
            heapq.heappop(heap)
        return None

    def _settle(self) -> None:
        long, short = self._nearest(self._longs), self._nearest(self._shorts)
        self.floor = long.price if long else NO_FLOOR
        self.ceiling = short.price if short else NO_CEILING
