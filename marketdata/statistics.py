"""How the tick pipeline is doing, in numbers that cost next to nothing to keep."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

RATE_WINDOW_S = 5
SAMPLES = 2048


@dataclass(frozen=True, slots=True)
class TickStats:
    """One look at the pipeline. Times in milliseconds.

    Attributes:
        error_rate: Errors for each tick, 0 to 1.
        avg_processing_time_ms: Mean time a tick took, its share of its batch.
        p99_processing_time_ms: Of the latest batches, how long the whole batch took: what its
            last tick waited.
        refused: Ticks that were not accepted, by reason.

    """

    total_ticks: int
    error_count: int
    error_rate: float
    avg_processing_time_ms: float
    p99_processing_time_ms: float
    symbols_tracked: int
    ticks_per_second: float
    refused: dict[str, int]


class RateMeter:
    """Events per second over the last few whole seconds."""

    __slots__ = ("_counted", "_events", "_second", "_window_s")

    def __init__(self, window_s: int = RATE_WINDOW_S) -> None:
        self._window_s = window_s
        self._counted: deque[tuple[int, int]] = deque(maxlen=window_s)  # seconds that are over, with events
        self._second = 0  # the running one
        self._events = 0

    def count(self, events: int, now: float) -> None:
        """Count ``events`` at monotonic time ``now``."""
        if (second := int(now)) != self._second:
            self._counted.append((self._second, self._events))
            self._second, self._events = second, 0
        self._events += events

    def per_second(self, now: float) -> float:
        """Return the mean of the whole seconds before ``now``; the running one is left out."""
        running = int(now)
        known = (*self._counted, (self._second, self._events))
        counted = sum(n for second, n in known if running - self._window_s <= second < running)
        return counted / self._window_s


BOUNDS_S = (
    1e-05, 2.5e-05, 5e-05, 1e-04, 2.5e-04, 5e-04, 1e-03, 2.5e-03, 5e-03, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Of histograms: from 10 us to 10 s."""


class Histogram:
    """How many durations were at most each of ``BOUNDS_S``, and more; plain numbers, so that counting is cheap."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a duration; one below zero, where a clock was set back, is in the first bucket."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += times
        self.total_s += seconds * times


class Durations:
    """The latest durations, and the total of all."""

    __slots__ = ("_latest", "total_s")

    def __init__(self) -> None:
        self.total_s = 0.0
        self._latest: deque[float] = deque(maxlen=SAMPLES)

    def add(self, seconds: float) -> None:
        self.total_s += seconds
        self._latest.append(seconds)

    def percentile(self, share: float) -> float:
        """Return the duration that ``share`` (0 to 1) of the latest did not exceed; 0 for none."""
        if not self._latest:
            return 0.0
        ordered = sorted(self._latest)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
