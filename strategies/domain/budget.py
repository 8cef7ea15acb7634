"""How many order requests an account may send."""

from __future__ import annotations

from collections import deque

from marketdata.domain.orders import OrderLimits

MARGIN_S = 0.05
"""Requests that leave in order may arrive closer together than they left."""

POLL_S = 0.02
"""How soon to look again while everything allowed is reserved."""

RESERVE_PERCENT = 10
"""Of the day's orders, kept for exits' first orders: above it nothing is priced anew."""


class SlidingWindow:
    """At most ``limit`` requests in any ``seconds``, counted by when they were sent."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self._seconds = seconds
        self._sent: deque[float] = deque()

    def wait_s(self, now: float, reserved: int = 0) -> float:
        """Return the seconds until one more may be sent, besides those ``reserved``; 0: at once."""
        while self._sent and self._sent[0] + self._seconds <= now:
            self._sent.popleft()
        if len(self._sent) + reserved < self.limit:
            return 0.0
        return self._sent[0] + self._seconds - now if self._sent else POLL_S

    def count(self, now: float) -> None:
        """Record a request sent at ``now``."""
        self._sent.append(now)


class Pace:
    """The limits of a second, a minute and an hour together. Times in elapsed seconds.

    What is about to leave is reserved first, so that a delay on the way cannot bring more
    requests together than the limits allow.
    """

    def __init__(self, limits: OrderLimits) -> None:
        self._windows = [
            SlidingWindow(limits.per_second, 1.0 + MARGIN_S),
            SlidingWindow(limits.per_minute, 60.0 + MARGIN_S),
        ]
        self._hour = None if limits.per_hour is None else SlidingWindow(limits.per_hour, 3_600.0 + MARGIN_S)
        if self._hour is not None:
            self._windows.append(self._hour)
        self.reserved = 0

    def wait_s(self, now: float) -> float:
        """Return the seconds until one more request is within every limit."""
        return max(window.wait_s(now, self.reserved) for window in self._windows)

    def warning(self, now: float) -> str:
        """Return what a person has to know of a wait for the hour's limit; empty while there is none."""
        if self._hour is None or self._hour.wait_s(now) <= 0:
            return ""
        return (
            f"All {self._hour.limit} order requests that the broker takes in an hour are used up: exits wait until "
            "the first of them is an hour old. Close positions in the broker's app if they cannot wait."
        )

    def reserve(self) -> None:
        self.reserved += 1

    def release(self) -> None:
        """What was reserved is sent, and counted, or is not sent at all."""
        self.reserved -= 1

    def count(self, now: float) -> None:
        for window in self._windows:
            window.count(now)


class DayCap:
    """The broker's limit of a day; cancels are not counted by it."""

    def __init__(self, limits: OrderLimits, used: int = 0) -> None:
        self._limit = limits.per_day
        self.used = used

    @property
    def left(self) -> int:
        return max(self._limit - self.used, 0)

    @property
    def spare(self) -> int:
        """Return what is left beyond the reserve."""
        return max(self.left - self._limit * RESERVE_PERCENT // 100, 0)

    @property
    def is_short(self) -> bool:
        """Seven tenths of the day's orders are used up."""
        return self.used * 10 >= self._limit * 7

    @property
    def warning(self) -> str:
        """Return what a person has to know of it; empty while there are plenty."""
        if self.left == 0:
            return (
                f"All {self._limit} order requests that the broker takes in a day are used up: exits wait for the "
                "next trading day. Close positions in the broker's app if they cannot wait."
            )
        if self.is_short:
            return (
                f"Seven tenths of the {self._limit} order requests that the broker takes in a day are used up. "
                "The last tenth is kept for first exit orders: nothing is priced anew with it."
            )
        return ""
