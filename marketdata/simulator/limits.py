"""How often a surface may be asked, and how often it was.

A broker's rates are its own; the control API may set smaller ones for orders, by name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from marketdata.domain.clock import Clock

ORDER_OPERATIONS = frozenset({"place", "modify", "cancel"})
PER_SECOND, PER_MINUTE, PER_DAY = "per_second", "per_minute", "per_day"
SECOND_S, MINUTE_S, HOUR_S, DAY_S = 1.0, 60.0, 3_600.0, 86_400.0
REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Rate:
    """``limit`` requests of some operations within any ``window_s``.

    Attributes:
        name: By which the control API sets another limit; empty: it does not.
        operations: Which requests count together; empty: all that no other rate counts.

    """

    limit: int
    window_s: float
    operations: Collection[str] = ()
    name: str = ""


class Windows:
    """Counts what happened in sliding windows of time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, str], deque[float]] = {}

    def admits(self, key: str, bucket: str, limit: int, window_s: float) -> bool:
        """Count one more, unless there were ``limit`` of them within ``window_s``."""
        if self.count(key, bucket, window_s) >= limit:
            return False
        self.add(key, bucket)
        return True

    def count(self, key: str, bucket: str, window_s: float) -> int:
        """Return how many there were within ``window_s``, and forget those before."""
        now, seen = self._clock.monotonic(), self._seen.setdefault((key, bucket), deque())
        while seen and now - seen[0] >= window_s:
            seen.popleft()
        return len(seen)

    def add(self, key: str, bucket: str) -> None:
        self._seen.setdefault((key, bucket), deque()).append(self._clock.monotonic())


class Limiter:
    """Requests per account at one broker. A request that a limit stops does not count."""

    def __init__(self, clock: Clock, rates: Sequence[Rate]) -> None:
        self._windows = Windows(clock)
        self._rates = rates
        self._named = frozenset(name for rate in rates for name in rate.operations)

    def broken(self, key: str, operation: str, caps: Mapping[str, int]) -> Rate | None:
        """Count a request; return the limit that it would break, if any."""
        asked = operation if operation in self._named else ""
        rates = [rate for rate in self._rates if (asked in rate.operations if asked else not rate.operations)]
        buckets = [f"{'/'.join(sorted(rate.operations))} in {rate.window_s}" for rate in rates]
        for rate, bucket in zip(rates, buckets, strict=True):
            if self._windows.count(key, bucket, rate.window_s) >= caps.get(rate.name, rate.limit):
                return rate
        for bucket in buckets:
            self._windows.add(key, bucket)
        return None


class Visit(NamedTuple):
    """One request from its arrival to its answer, in UNIX seconds."""

    operation: str
    at: float
    until: float


@dataclass(slots=True)
class Traffic:
    """The order requests of one account, as they were received: refused ones too.

    Attributes:
        most_in_a_second: The largest number in any second so far.
        requests: Operation and time (UNIX seconds) of each, oldest first.

    """

    total: int = 0
    most_in_a_second: int = 0
    requests: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _second: deque[float] = field(default_factory=deque, repr=False)

    def receive(self, operation: str, clock: Clock) -> None:
        """Note one request."""
        now = clock.monotonic()
        self.total += 1
        self.requests.append((operation, clock.time()))
        self._second.append(now)
        while now - self._second[0] >= SECOND_S:
            self._second.popleft()
        self.most_in_a_second = max(self.most_in_a_second, len(self._second))
