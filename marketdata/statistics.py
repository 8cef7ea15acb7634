"""How the tick pipeline is doing, in numbers that cost next to nothing to keep."""

from __future__ import annotations

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

    def __init__(self, window_s: int = RATE_WINDOW_S) -> None:
        self._buckets: deque[tuple[int, int]] = deque(maxlen=window_s + 1)
        self._window_s = window_s

    def count(self, events: int, now: float) -> None:
        """Count ``events`` at monotonic time ``now``."""
        second = int(now)
        if self._buckets and self._buckets[-1][0] == second:
            events += self._buckets.pop()[1]
        self._buckets.append((second, events))

    def per_second(self, now: float) -> float:
        """Return the mean of the whole seconds before ``now``; the running one is left out."""
        running = int(now)
        counted = sum(n for second, n in self._buckets if running - self._window_s <= second < running)
        return counted / self._window_s


class Durations:
    """The latest durations, and the total of all."""

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
