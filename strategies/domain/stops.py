"""An armed stop, and the stops of one instrument in the order a moving price meets them."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from strategies.domain.rules import NO_CEILING, NO_FLOOR, Bounds, Memory, Rule

_SLACK = 16
"""How many entries of stops that are no longer armed a heap may always hold."""


@dataclass(frozen=True, slots=True)
class Stop:
    """One armed stop. Two with different memories are the same stop at different times, and equal.

    Attributes:
        epoch: Which arming of the strategy this is; every edit makes a new one.
        rule: When the position is to be left.
        quantity: Units of the instrument held.
        memory: What the rule remembers.

    """

    strategy_id: int
    epoch: int
    user_id: int
    symbol: str
    rule: Rule
    quantity: int
    memory: Memory = field(default=None, compare=False)

    @property
    def bounds(self) -> Bounds:
        return self.rule.bounds(self.memory)


@dataclass(frozen=True, slots=True)
class _Armed:
    stop: Stop
    serial: int


class StopBook:
    """The armed stops of one user on one instrument, by the bounds of their rules.

    ``floor`` is the highest floor and ``ceiling`` the lowest ceiling: while ``floor < price <
    ceiling`` no stop has anything to judge, and that comparison is all a tick costs. Arming and
    disarming are O(log n), taking k reached stops O(k log n).
    """

    __slots__ = ("_armed", "_ceilings", "_floors", "_serial", "ceiling", "floor")

    def __init__(self) -> None:
        self.floor = NO_FLOOR
        self.ceiling = NO_CEILING
        self._armed: dict[int, _Armed] = {}
        self._serial = 0
        # (key, serial, strategy), nearest first; an entry whose serial is no longer armed is dropped when met.
        self._floors: list[tuple[int, int, int]] = []
        self._ceilings: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self._armed)

    def get(self, strategy_id: int) -> Stop | None:
        armed = self._armed.get(strategy_id)
        return armed.stop if armed else None

    def stops(self) -> list[Stop]:
        """Return every armed stop."""
        return [armed.stop for armed in self._armed.values()]

    def arm(self, stop: Stop) -> None:
        """Arm ``stop``; an earlier one of the same strategy is replaced."""
        bounds = stop.bounds
        self._serial += 1
        self._armed[stop.strategy_id] = _Armed(stop, self._serial)
        if bounds.floor > NO_FLOOR:
            self._push(self._floors, (-bounds.floor, self._serial, stop.strategy_id))
        if bounds.ceiling < NO_CEILING:
            self._push(self._ceilings, (bounds.ceiling, self._serial, stop.strategy_id))
        self._settle()

    def disarm(self, strategy_id: int) -> None:
        """Forget the strategy's stop, if it has one."""
        if self._armed.pop(strategy_id, None) is not None:
            self._settle()

    def take(self, price: int) -> list[Stop]:
        """Disarm and return the stops with ``price`` at or beyond a bound, nearest first.

        They are to be judged; what is not hit is armed again.
        """
        taken = self._take_while(self._floors, -price) + self._take_while(self._ceilings, price)
        self._settle()
        return taken

    def reached(self, price: int) -> list[Stop]:
        """Return the stops with ``price`` at or beyond a bound; they stay armed."""
        return [armed.stop for armed in self._armed.values() if price not in armed.stop.bounds]

    def _push(self, heap: list[tuple[int, int, int]], entry: tuple[int, int, int]) -> None:
        heapq.heappush(heap, entry)
        if len(heap) > 2 * len(self._armed) + _SLACK:  # bounds that move leave their old entries behind
            heap[:] = filter(self._is_armed, heap)
            heapq.heapify(heap)

    def _take_while(self, heap: list[tuple[int, int, int]], limit: int) -> list[Stop]:
        taken: list[Stop] = []
        while self._has_nearest(heap) and heap[0][0] <= limit:
            taken.append(self._armed.pop(heapq.heappop(heap)[2]).stop)
        return taken

    def _has_nearest(self, heap: list[tuple[int, int, int]]) -> bool:
        """Drop what is no longer armed from the top; False when nothing is left."""
        while heap and not self._is_armed(heap[0]):
            heapq.heappop(heap)
        return bool(heap)

    def _is_armed(self, entry: tuple[int, int, int]) -> bool:
        armed = self._armed.get(entry[2])
        return armed is not None and armed.serial == entry[1]

    def _settle(self) -> None:
        self.floor = -self._floors[0][0] if self._has_nearest(self._floors) else NO_FLOOR
        self.ceiling = self._ceilings[0][0] if self._has_nearest(self._ceilings) else NO_CEILING
