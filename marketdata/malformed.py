"""How many malformed messages a feed may send before its connection is worth no more."""

from __future__ import annotations

from collections import deque

from marketdata.domain.errors import BrokerUnavailable

PER_MINUTE = 20
_MINUTE_S = 60.0


class Malformed:
    """Counts malformed messages; a burst of them ends the connection."""

    def __init__(self) -> None:
        self.total = 0
        self._moments: deque[float] = deque(maxlen=PER_MINUTE + 1)

    def count(self, now: float) -> None:
        """Count one more at ``now``, monotonic seconds.

        Raises:
            BrokerUnavailable: More than 20 within a minute.

        """
        self.total += 1
        self._moments.append(now)
        if len(self._moments) > PER_MINUTE and now - self._moments[0] <= _MINUTE_S:
            self._moments.clear()
            raise BrokerUnavailable(f"more than {PER_MINUTE} malformed messages within a minute")
