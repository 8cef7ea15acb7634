"""The stops of one user on one instrument, in the order a moving price meets them."""

from __future__ import annotations

from strategies.domain.ranked import Ranked
from strategies.domain.rules import NO_CEILING, NO_FLOOR
from strategies.domain.stops import Stop


class StopBook:
    """The armed stops of one user on one instrument, by the bounds of their rules.

    ``floor`` is the highest floor and ``ceiling`` the lowest ceiling: while ``floor < price <
    ceiling`` no stop has anything to judge, and that comparison is all a tick costs. Arming and
    disarming move no more than a run of them, taking k reached stops is O(k).

    Args:
        user_id: Whose stops.
        symbol: Their instrument.
        armed: The stop of each strategy, shared by all books of a monitor, so that none has two.
            What is not in here is not armed.

    """

    __slots__ = ("_armed", "_ceilings", "_floors", "_symbol", "_user_id", "ceiling", "floor")

    def __init__(self, user_id: int, symbol: str, armed: dict[int, Stop]) -> None:
        self.floor = NO_FLOOR
        self.ceiling = NO_CEILING
        self._user_id = user_id
        self._symbol = symbol
        self._armed = armed
        # Every stop that has no ceiling is in here, one that no price reaches as well.
        self._floors = Ranked()
        self._ceilings = Ranked()

    def __bool__(self) -> bool:
        return bool(self._floors or self._ceilings)

    def stops(self) -> list[Stop]:
        """Return every armed stop."""
        return self._armed_of([*self._floors, *self._ceilings])

    def reached(self, price: int) -> list[Stop]:
        """Return the stops with ``price`` at or beyond a bound, nearest first; they stay armed."""
        return self._armed_of([*self._floors.at_least(price), *self._ceilings.below(price + 1)])

    def arm(self, stop: Stop) -> None:
        """Arm ``stop``; an earlier one of the same strategy is replaced."""
        bounds = stop.bounds
        if stop.strategy_id in self._armed:
            self.disarm(stop.strategy_id)
        if bounds.ceiling < NO_CEILING:
            self._ceilings.add(bounds.ceiling, stop)
            self.ceiling = min(self.ceiling, bounds.ceiling)
        if bounds.floor > NO_FLOOR or bounds.ceiling == NO_CEILING:
            self._floors.add(bounds.floor, stop)
            self.floor = max(self.floor, bounds.floor)
        self._armed[stop.strategy_id] = stop  # last: what fails before is not taken for armed

    def disarm(self, strategy_id: int) -> None:
        """Forget the strategy's stop, if it has one here."""
        stop = self._armed.get(strategy_id)
        if stop is None or stop.symbol != self._symbol or stop.user_id != self._user_id:
            return
        del self._armed[strategy_id]
        bounds = stop.bounds
        self._floors.remove(bounds.floor, stop)
        self._ceilings.remove(bounds.ceiling, stop)
        self._settle()

    def take(self, price: int) -> list[Stop]:
        """Disarm and return the stops with ``price`` at or beyond a bound, nearest first.

        They are to be judged; what is not hit is armed again.
        """
        falling = self._floors.pop_at_least(price) if price <= self.floor else []
        rising = self._ceilings.pop_below(price + 1) if price >= self.ceiling else []
        taken = self._armed_of(falling + rising)
        for stop in taken:
            del self._armed[stop.strategy_id]
        if self._ceilings:  # most books have one side only
            for stop in falling:
                self._ceilings.remove(stop.bounds.ceiling, stop)
        if self._floors:
            for stop in rising:
                self._floors.remove(stop.bounds.floor, stop)
        self._settle()
        return taken

    def _armed_of(self, stops: list[Stop]) -> list[Stop]:
        """Return those that are armed, each once."""
        armed = self._armed.get
        return list({stop.strategy_id: stop for stop in stops if armed(stop.strategy_id) is stop}.values())

    def _settle(self) -> None:
        self.floor = self._floors.highest if self._floors else NO_FLOOR
        self.ceiling = self._ceilings.lowest if self._ceilings else NO_CEILING
