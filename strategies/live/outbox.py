"""What a socket still has to say, and how fast it may.

Standard library only: no socket, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

Price = Sequence[Any]
"""``[symbol, price as text, UNIX milliseconds of receipt]``"""


class PriceOutbox:
    """The latest price of each symbol, and the client's credit.

    A browser that stops reading must not make the server's memory grow: at most ``credit``
    price frames are under way, everything newer waits here, one value per symbol.
    """

    def __init__(self, *, credit: int, patience_s: float) -> None:
        self._credit = credit
        self._patience_s = patience_s
        self._latest: dict[str, Price] = {}
        self._unacked: deque[int] = deque()
        self._blocked_since: float | None = None

    def merge(self, prices: Iterable[Price]) -> None:
        for price in prices:
            self._latest[price[0]] = price

    def take(self, now: float) -> list[Price]:
        """Return what may be sent now, each symbol once; empty without news or credit."""
        if not self._latest:
            return []
        if len(self._unacked) >= self._credit:
            self._blocked_since = now if self._blocked_since is None else self._blocked_since
            return []
        prices, self._latest = list(self._latest.values()), {}
        return prices

    def sent(self, seq: int) -> None:
        self._unacked.append(seq)

    def ack(self, seq: int) -> None:
        """Count the frame ``seq`` and all before it as read."""
        while self._unacked and self._unacked[0] <= seq:
            self._unacked.popleft()
            self._blocked_since = None

    def is_stalled(self, now: float) -> bool:
        return self._blocked_since is not None and now - self._blocked_since > self._patience_s


class Counters:
    """Finds the messages that never arrived, from each publisher's own numbering."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def has_gap(self, source: str, n: int) -> bool:
        """Take number ``n`` of ``source``; True when it does not follow the last one."""
        last = self._last.get(source)
        self._last[source] = n
        return last is not None and n != last + 1


class RateLimit:
    """A bucket of ``burst`` tokens that fills with ``per_s``."""

    def __init__(self, *, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at: float | None = None

    def allows(self, now: float) -> bool:
        elapsed = 0.0 if self._at is None else now - self._at
        self._at = now
        self._tokens = min(self._burst, self._tokens + elapsed * self._per_s)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
