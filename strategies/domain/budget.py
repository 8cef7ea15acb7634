"""How many order requests an account may send."""

from __future__ import annotations

from collections import deque


class SlidingWindow:
    """At most ``limit`` requests in any ``seconds``, counted by when they were sent."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._sent: deque[float] = deque(maxlen=limit)

    def wait_s(self, now: float) -> float:
        """Return the seconds until a request may be sent; 0 when it may be sent at once."""
        if len(self._sent) < self._limit:
            return 0.0
        return max(0.0, self._sent[0] + self._seconds - now)

    def count(self, now: float) -> None:
        """Record a request sent at ``now``."""
        self._sent.append(now)
