"""What is known of a feed's prices: when each could last have triggered, and whether its stamps fit our clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from marketdata.domain.gate import AFTER_CLOSE, BEFORE_OPEN, FUTURE, STALE, Decision
from marketdata.domain.ticks import Tick

OFF_S = 10.0
"""Stamps that disagree with this machine's clock for so long are reported."""


class Freshness:
    """When each symbol was last judged, by a tick or by a quote. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._judged_at: dict[str, float] = {}
        self.quoted_at: float | None = None

    def by_ticks(self, judged: Sequence[tuple[Tick, Decision]], now: float) -> None:
        """Take what the gate said: only a price that may trigger is evidence."""
        for tick, decision in judged:
            if decision.is_actionable:
                self._judged_at[tick.symbol] = now

    def by_quotes(self, symbols: Iterable[str], now: float) -> None:
        """Take which symbols were judged by prices that were asked for."""
        if found := dict.fromkeys(symbols, now):
            self._judged_at.update(found)
            self.quoted_at = now

    def stale(self, symbols: Iterable[str], now: float, after_s: float) -> tuple[str, ...]:
        """Return those of ``symbols`` that have gone unjudged for ``after_s`` or longer."""
        latest = now - after_s
        return tuple(name for name in symbols if self._judged_at.get(name, float("-inf")) <= latest)

    def silence_s(self, symbols: Iterable[str], now: float) -> float:
        """Return how long the most neglected of ``symbols`` has gone unjudged; zero with none."""
        return max((now - self._judged_at.get(symbol, float("-inf")) for symbol in symbols), default=0.0)


class StampWatch:
    """Whether a feed's stamps fit this machine's clock.

    One that is off by more than the gate allows silences every stop of the feed, and nothing
    else would show it: frames keep coming.
    """

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._since: float | None = None
        self._last = 0.0
        self._ahead_s = 0.0

    def note(self, judged: Sequence[tuple[Tick, Decision]], now: float) -> None:
        """Take what the gate said of one message, at monotonic ``now``."""
        for tick, decision in judged:
            if tick.exchange_time is None:
                continue
            if decision.is_actionable or decision in (BEFORE_OPEN, AFTER_CLOSE):
                self._since = None
            elif decision is FUTURE or (decision is STALE and self._is_live(tick, tick.exchange_time)):
                self._since = now if self._since is None else self._since
                self._last, self._ahead_s = now, tick.exchange_time - tick.received_at

    def trouble(self) -> str:
        """Return what is wrong and what to do; empty while nothing shows that anything is."""
        if self._since is None or self._last - self._since <= OFF_S:
            return ""
        side = "ahead of" if self._ahead_s > 0 else "behind"
        lag = "" if self._ahead_s > 0 else ", or the feed lags"
        return (
            f"prices are stamped {abs(self._ahead_s):.0f} s {side} this machine's clock: is it wrong{lag}? "
            "Synchronise it (timedatectl). Until then stops are checked by quotes only"
        )

    def _is_live(self, tick: Tick, stamp: int) -> bool:
        """An old price told again shows no clock to be wrong; one that moves on, and is old all the same, does."""
        before = self._newest.get(tick.symbol)
        self._newest[tick.symbol] = stamp
        is_moving = before is not None and stamp > before
        return is_moving and not tick.is_first and not tick.is_trade_time
