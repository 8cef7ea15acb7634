"""Whether every instrument that was asked for on a connection has answered with a price."""

from __future__ import annotations

from collections.abc import Iterable

FIRST_TICK_S = 5.0
"""A subscription is answered with the last known price at once: without one for so long it was not taken."""


class Arrivals:
    """Instruments whose first price on their present connection is still to come. Monotonic seconds."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._again: dict[str, float] = {}  # asked for a second time, and when

    def expect(self, symbols: Iterable[str], now: float) -> None:
        """Wait for what a connection was just asked for."""
        for symbol in symbols:
            self._since[symbol] = now
            self._again.pop(symbol, None)

    def forget(self, symbols: Iterable[str]) -> None:
        """Wait for these no more: they have come, or are wanted no longer."""
        if self._since:
            for symbol in symbols:
                self._since.pop(symbol, None)
                self._again.pop(symbol, None)

    def overdue(self, now: float) -> set[str]:
        """Return what should have come by now."""
        return {symbol for symbol, since in self._since.items() if now - since >= FIRST_TICK_S}

    def to_ask_again(self, now: float) -> set[str]:
        """Return what is overdue and was asked for only once; from now on it counts as asked twice."""
        new = self.overdue(now) - self._again.keys()
        self._again.update(dict.fromkeys(new, now))
        return new

    def missing(self, now: float) -> dict[str, float]:
        """Return what did not come after being asked for twice, and for how long."""
        return {
            symbol: now - self._since[symbol]
            for symbol, again in self._again.items()
            if now - again >= FIRST_TICK_S
        }
