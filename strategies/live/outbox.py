"""How fast a socket may be spoken to, and what of its news was lost.

Standard library only: no socket, no clock.
"""

from __future__ import annotations

from collections import deque


class Credit:
    """How many price frames a browser has not read yet.

    One that stops reading must not make the server's memory grow: at most ``frames`` are under
    way, everything newer waits on the board, one value per symbol.
    """

    def __init__(self, *, frames: int, patience_s: float) -> None:
        self._frames = frames
        self._patience_s = patience_s
        self._unacked: deque[int] = deque()
        self._blocked_since: float | None = None

    @property
    def is_used_up(self) -> bool:
        return len(self._unacked) >= self._frames

    def sent(self, seq: int) -> None:
        self._unacked.append(seq)

    def ack(self, seq: int) -> None:
        """Count the frame ``seq`` and all before it as read."""
        while self._unacked and self._unacked[0] <= seq:
            self._unacked.popleft()
            self._blocked_since = None

    def clear(self) -> None:
        """Begin anew: what is under way counts no more."""
        self._unacked.clear()
        self._blocked_since = None

    def blocked(self, now: float) -> None:
        """Note that there was something to send, and no credit."""
        if self._blocked_since is None:
            self._blocked_since = now

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
