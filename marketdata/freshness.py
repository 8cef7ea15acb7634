"""What is known of a feed's prices: when each could last have triggered, and whether its stamps fit our clock."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from marketdata.domain.gate import AFTER_CLOSE, BEFORE_OPEN, FUTURE, STALE, Decision
from marketdata.domain.ticks import Tick

OFF_S = 10.0
"""Stamps that disagree with this machine's clock for so long are reported."""

DEAD_S = 1.0
"""How often prices are asked for while the feed brings none: brokers answer one request a second."""
FEED_QUIET_S = 5.0
"""The same once nothing at all has come for so long: the market sleeps, or the feed does."""
QUIET_S = 10.0
"""Without a fresh price or a quote for so long, an armed instrument is asked for: silence proves nothing."""
GRACE_S = 3.0
"""How long a tick may lag behind a quote before its absence means something."""

_NEVER = float("-inf")


class Freshness:
    """When each symbol was last judged, by a tick or by a quote. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._ticked: dict[str, float] = {}  # when a tick last could trigger
        self._last: dict[str, tuple[float, int]] = {}  # the last tick, whether it could or not: when, units
        self._quotes: dict[str, float] = {}
        self._moved: dict[str, float] = {}  # since when quotes tell another price than the last tick
        self._ticked_at = _NEVER
        self.quoted_at = _NEVER

    def begin(self, symbols: Iterable[str]) -> None:
        """Start with a new connection of ``symbols``: nothing is known against it yet."""
        for symbol in symbols:
            self._moved.pop(symbol, None)

    def by_ticks(self, judged: Sequence[tuple[Tick, Decision]], now: float) -> None:
        """Take what the gate said: only a price that may trigger is evidence."""
        for tick, decision in judged:
            self._last[tick.symbol] = (now, tick.price)
            if decision.is_actionable:
                self._ticked[tick.symbol] = self._ticked_at = now
            if self._moved:
                self._moved.pop(tick.symbol, None)

    def by_quotes(self, prices: Mapping[str, int], now: float) -> None:
        """Take the prices (units) of the symbols that were judged by being asked for."""
        if not prices:
            return
        self.quoted_at = now
        for symbol, price in prices.items():
            self._quotes[symbol] = now
            told_at, told = self._last.get(symbol, (now, price))
            if now - told_at >= FEED_QUIET_S and _is_another(price, told):
                self._moved.setdefault(symbol, now)

    def age_s(self, symbol: str, now: float) -> float:
        """Return how long ago a symbol was last judged; infinite: never."""
        return now - max(self._ticked.get(symbol, _NEVER), self._quotes.get(symbol, _NEVER))

    def due(
        self, symbols: Iterable[str], now: float, *, is_dead: bool, in_doubt: Container[str] = ()
    ) -> set[str]:
        """Return which of ``symbols`` have to be asked for now.

        Args:
            symbols: What is armed.
            now: Monotonic seconds.
            is_dead: The feed brings nothing of any of them.
            in_doubt: It seems to bring nothing of these.

        """
        is_quiet = now - self._ticked_at >= FEED_QUIET_S
        usual_s = DEAD_S if is_dead else FEED_QUIET_S if is_quiet else QUIET_S
        return {
            symbol
            for symbol in symbols
            if self.age_s(symbol, now) >= (DEAD_S if symbol in in_doubt or symbol in self._moved else usual_s)
        }

    def left_behind(self, now: float) -> dict[str, float]:
        """Return the symbols whose price moves, by quotes, and how long no tick has come of them."""
        return {
            symbol: now - self._last[symbol][0]
            for symbol, since in self._moved.items()
            if now - since >= GRACE_S
        }


def _is_another(price: int, ticked: int) -> bool:
    """Tell two prices apart, but not one from itself: some feeds carry four bytes of floating point."""
    return abs(price - ticked) * 1_000_000 > ticked


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
