"""Whether a price went through a stop while nobody could see it: proved by how far the day's range has widened.

A quote tells the day's low and high so far. Neither says when. What was reached before a stop was
armed must not exit it, so a range is compared with one that was told after the arming: only what
lies beyond that one happened since.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from strategies.domain.stops import Stop


@dataclass(frozen=True, slots=True)
class DayRange:
    """How far a price had been on ``day`` by ``at`` (UNIX seconds). Units."""

    low: int
    high: int
    day: date
    at: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """A stop that was crossed between two looks, and that the last price has come back from.

    Attributes:
        reason: What its rule calls it.
        extreme: How far the price had been, units.
        since: The look before it happened, UNIX seconds.
        until: The look that showed it.
        price: Where the price was by then.
        is_overnight: The look before was on an earlier day. A broker may still tell that day's
            range of what has not traded since, so nothing is to be sold on it.

    """

    stop: Stop
    reason: str
    extreme: int
    since: float
    until: float
    price: int
    is_overnight: bool


def crossed(stop: Stop, before: DayRange, now: DayRange, price: int) -> Crossing | None:
    """Return how ``stop``, armed at ``before.at`` or earlier, was crossed by ``now.at``; None: nothing shows that it was."""
    for extreme in _widened(before, now):
        judgement = stop.rule.judge(extreme, stop.memory)
        if judgement.is_hit:
            is_overnight = before.day != now.day
            return Crossing(stop, judgement.reason, extreme, before.at, now.at, price, is_overnight)
    return None


def _widened(before: DayRange, now: DayRange) -> Iterator[int]:
    """Yield the day's low and high as far as they are news."""
    is_new = before.day < now.day  # the stop was armed before this day began
    if is_new or now.low < before.low:
        yield now.low
    if is_new or now.high > before.high:
        yield now.high
