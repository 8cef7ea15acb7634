"""Stops in the order of one of their bounds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import chain
from operator import attrgetter

from strategies.domain.stops import Stop

RUN = 500
"""How long the two halves are that a run is cut into: putting one in or taking one out moves no more than a run."""

_FIRST = -1  # before every strategy
_strategy_id = attrgetter("strategy_id")


class Ranked:
    """Stops by bound and strategy, lowest first, in runs. A stop costs two pointers."""

    __slots__ = ("_bounds", "_lasts", "_stops")

    def __init__(self) -> None:
        # The bounds of each run, its stops, and the bound and strategy of its last one; no run is empty.
        self._bounds: list[list[int]] = []
        self._stops: list[list[Stop]] = []
        self._lasts: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._lasts)

    def __iter__(self) -> Iterator[Stop]:
        return chain.from_iterable(self._stops)

    @property
    def lowest(self) -> int:
        """The lowest bound. There has to be one."""
        return self._bounds[0][0]

    @property
    def highest(self) -> int:
        """The highest bound. There has to be one."""
        return self._lasts[-1][0]

    def add(self, bound: int, stop: Stop) -> None:
        """Put in a stop."""
        run = bisect_left(self._lasts, (bound, stop.strategy_id))
        if run == len(self._lasts):
            self._append(bound, stop)
            return
        bounds, stops = self._bounds[run], self._stops[run]
        place = _place(bounds, stops, bound, stop.strategy_id)
        bounds.insert(place, bound)
        stops.insert(place, stop)
        self._halve_if_long(run)

    def remove(self, bound: int, stop: Stop) -> None:
        """Take out this very stop, if it is in with this bound."""
        run = bisect_left(self._lasts, (bound, stop.strategy_id))
        if run == len(self._lasts):
            return
        bounds, stops = self._bounds[run], self._stops[run]
        place = _place(bounds, stops, bound, stop.strategy_id)
        if stops[place] is stop:
            del bounds[place], stops[place]
            if place == len(stops):
                self._close(run)

    def below(self, bound: int) -> list[Stop]:
        """Return the stops below ``bound``, lowest first."""
        run = bisect_left(self._lasts, (bound, _FIRST))
        found = list(chain.from_iterable(self._stops[:run]))
        if run < len(self._lasts):
            found += self._stops[run][: bisect_left(self._bounds[run], bound)]
        return found

    def at_least(self, bound: int) -> list[Stop]:
        """Return the stops at ``bound`` and above, highest first."""
        run = bisect_left(self._lasts, (bound, _FIRST))
        if run == len(self._lasts):
            return []
        found = self._stops[run][bisect_left(self._bounds[run], bound) :]
        found += chain.from_iterable(self._stops[run + 1 :])
        found.reverse()
        return found

    def pop_below(self, bound: int) -> list[Stop]:
        """Take out the stops below ``bound``; return them, lowest first."""
        found: list[Stop] = []
        while self._lasts and self._bounds[0][0] < bound:
            bounds, stops = self._bounds[0], self._stops[0]
            place = bisect_left(bounds, bound)
            found += stops[:place]
            del bounds[:place], stops[:place]
            self._close(0)
        return found

    def pop_at_least(self, bound: int) -> list[Stop]:
        """Take out the stops at ``bound`` and above; return them, highest first."""
        found: list[Stop] = []
        while self._lasts and self._lasts[-1][0] >= bound:
            bounds, stops = self._bounds[-1], self._stops[-1]
            place = bisect_left(bounds, bound)
            found += reversed(stops[place:])
            del bounds[place:], stops[place:]
            self._close(-1)
        return found

    def _append(self, bound: int, stop: Stop) -> None:
        """Put in a stop that comes after all others."""
        if not self._lasts:
            self._bounds.append([])
            self._stops.append([])
            self._lasts.append((bound, stop.strategy_id))
        self._bounds[-1].append(bound)
        self._stops[-1].append(stop)
        self._close(-1)
        self._halve_if_long(len(self._lasts) - 1)

    def _halve_if_long(self, run: int) -> None:
        bounds, stops = self._bounds[run], self._stops[run]
        if len(stops) > 2 * RUN:
            self._bounds[run : run + 1] = bounds[:RUN], bounds[RUN:]
            self._stops[run : run + 1] = stops[:RUN], stops[RUN:]
            self._lasts.insert(run, (bounds[RUN - 1], stops[RUN - 1].strategy_id))

    def _close(self, run: int) -> None:
        """Note the last of a run that has changed; an empty one is gone."""
        if self._stops[run]:
            self._lasts[run] = (self._bounds[run][-1], self._stops[run][-1].strategy_id)
        else:
            del self._bounds[run], self._stops[run], self._lasts[run]


def _place(bounds: list[int], stops: list[Stop], bound: int, strategy_id: int) -> int:
    """Return where a bound and strategy are in a run, or would be; the run ends with them or after them."""
    first = bisect_left(bounds, bound)
    if bounds[first] != bound or stops[first].strategy_id >= strategy_id:
        return first
    last = first + 1  # mostly one other has the same bound
    if last < len(bounds) and bounds[last] == bound:
        last = bisect_right(bounds, bound, last)
        return bisect_left(stops, strategy_id, first, last, key=_strategy_id)
    return last
