"""What happens when, as data: the same seed gives the same day. All times are real seconds from the start."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

DAY_MINUTES = 375
OPENS = datetime(2000, 1, 1, 9, 15)  # noqa: DTZ001 - only its hours are shown
QUIET_END_S = 20.0
SLOT_S = 30.0
TROUBLES = ("silence", "lock", "cut", "redis", "token", "silence", "refuse", "lock", "cut", "redis")
"""One in each slot, in turn; none lasts longer than its slot."""
BAD_FRAME_EVERY_S = 12.0
ORDER_TROUBLE_EVERY = 3
"""So many breaches for each whose order meets trouble."""
PACES = ((0.0, 2.0), (0.04, 1.3), (0.16, 0.8), (0.75, 1.0), (0.92, 1.5))
"""From which part of the day on, how many times the mean rate: opens and closes are busy."""


@dataclass(frozen=True, slots=True)
class Day:
    """How a day is played: ``rate`` is ticks for each second of the play, over all instruments."""

    minutes: float = 15.0
    rate: float = 2_000.0
    instruments: int = 3_000
    strategies: int = 200
    breaches: int = 120
    seed: int = 1

    @property
    def seconds(self) -> float:
        return self.minutes * 60

    @property
    def speed(self) -> float:
        return DAY_MINUTES / self.minutes

    def clock(self, at_s: float) -> str:
        """Return which time of the day is played ``at_s`` seconds after the start."""
        return f"{OPENS + timedelta(seconds=at_s * self.speed):%H:%M}"


@dataclass(frozen=True, slots=True, order=True)
class Planned:
    """``what`` is a method of ``happenings.Happenings``; ``number`` says to whom, or how much."""

    at_s: float
    what: str
    number: float = 0


def schedule(day: Day) -> list[Planned]:
    """Return everything that is to happen, in order."""
    rng = random.Random(day.seed)
    until = day.seconds - QUIET_END_S
    planned = [Planned(part * day.seconds, "pace", factor) for part, factor in PACES]
    for slot in range(int(until / SLOT_S)):
        at_s = slot * SLOT_S + rng.uniform(1, SLOT_S / 3)
        planned.append(Planned(at_s, TROUBLES[slot % len(TROUBLES)], rng.randrange(2)))
        planned.append(Planned(at_s + 12, "mend"))
    planned += [
        Planned(rng.uniform(0, until), "bad_frame", rng.randrange(2))
        for _ in range(int(until / BAD_FRAME_EVERY_S))
    ]
    for number, strategy in enumerate(rng.sample(range(day.strategies), day.breaches)):
        at_s = rng.uniform(2, until)
        if number % ORDER_TROUBLE_EVERY == 0:
            planned.append(Planned(at_s - 0.2, "order_trouble", strategy))
        planned.append(Planned(at_s, "breach", strategy))
    return sorted(planned)
