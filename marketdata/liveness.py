"""Connected, subscribed and ticking are three things: what is known of each for one account's feed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from marketdata.arrivals import Arrivals
from marketdata.domain.clock import Clock
from marketdata.domain.gate import Decision
from marketdata.domain.ticks import Tick
from marketdata.freshness import DEAD_S, Freshness, StampWatch

UNSEEN_S = 15.0
"""An armed instrument without a fresh tick or a quote for so long is not watched."""


class Liveness:
    """Put together from what the feed does and what quotes say. Belongs to one feed; asks nobody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._freshness = Freshness()
        self._arrivals = Arrivals()
        self._stamps = StampWatch()
        self._dead_since: float | None = clock.monotonic()
        self._is_connected = False
        self._asked_again: set[str] = set()  # of what has ticked before

    # --- what happens -------------------------------------------------------------------

    def connected(self, symbols: Iterable[str]) -> None:
        """Note that all is connected, ``symbols`` anew; until the first price it counts as dead."""
        self._is_connected = True
        symbols = list(symbols)
        self._freshness.begin(symbols)
        self._arrivals.expect(symbols, self._clock.monotonic())

    def disconnected(self) -> None:
        """Note that it is connected no more, or not all of it."""
        self._is_connected = False
        if self._dead_since is None:
            self._dead_since = self._clock.monotonic()

    def expect(self, symbols: Iterable[str]) -> None:
        """Note what was added to the connection."""
        self._arrivals.expect(symbols, self._clock.monotonic())

    def forget(self, symbols: Iterable[str]) -> None:
        """Note what was taken off the connection."""
        self._arrivals.forget(symbols)

    def by_ticks(self, judged: Sequence[tuple[Tick, Decision]]) -> None:
        """Note what a message brought, and what the gate said of it."""
        now = self._clock.monotonic()
        if self._is_connected:
            self._dead_since = None
        self._arrivals.forget(tick.symbol for tick, _ in judged)
        self._freshness.by_ticks(judged, now)
        self._stamps.note(judged, now)

    def by_quotes(self, prices: Mapping[str, int]) -> None:
        """Note the prices (units) by which symbols were judged."""
        self._freshness.by_quotes(prices, self._clock.monotonic())

    # --- what follows -------------------------------------------------------------------

    @property
    def is_dead(self) -> bool:
        """Not all connected, or connected and nothing has come yet: what ticks all the same is not asked for."""
        return self._dead_since is not None

    @property
    def quote_age_s(self) -> float:
        """Seconds since anything armed was last judged by quotes; infinite: never."""
        return self._clock.monotonic() - self._freshness.quoted_at

    def due(self, armed: Collection[str]) -> set[str]:
        """Return which armed instruments have to be asked for now."""
        now = self._clock.monotonic()
        if self._dead_since is not None and now - self._dead_since < DEAD_S:
            return set()  # it may be back at once
        overdue = self._arrivals.overdue(now)
        return self._freshness.due(armed, now, is_dead=self.is_dead, in_doubt=overdue)

    def to_ask_again(self) -> set[str]:
        """Return the instruments to subscribe to once more: each only once while it stays silent."""
        now = self._clock.monotonic()
        behind = self._freshness.left_behind(now).keys()
        new, self._asked_again = behind - self._asked_again, set(behind)
        return self._arrivals.to_ask_again(now) | new

    def silent(self, armed: Collection[str]) -> dict[str, str]:
        """Return the armed instruments of which the feed brings nothing although it should, and why we think so."""
        now = self._clock.monotonic()
        behind, missing = self._freshness.left_behind(now), self._arrivals.missing(now)
        found = {
            symbol: f"no price has come in the {seconds:.0f} s since it was subscribed, though asked for twice"
            for symbol, seconds in missing.items()
        }
        found.update(
            {
                symbol: f"no tick for {seconds:.0f} s while its price moved"
                for symbol, seconds in behind.items()
            }
        )
        # Outside the session nothing is judged by a quote, and nothing has to come.
        return {
            symbol: why for symbol, why in found.items() if symbol in armed and self._is_seen(symbol, now)
        }

    def unseen(self, armed: Collection[str]) -> dict[str, str]:
        """Return the armed instruments whose price is not seen as it should be, and why."""
        found = {
            symbol: "its price has not been seen yet" if age == float("inf") else f"no price for {age:.0f} s"
            for symbol, age in self.stale(armed).items()
        }
        return {**found, **self.silent(armed)}

    def stale(self, armed: Collection[str]) -> dict[str, float]:
        """Return the armed instruments that nothing was heard of for ``UNSEEN_S``, and for how many seconds."""
        now = self._clock.monotonic()
        ages = {symbol: self._freshness.age_s(symbol, now) for symbol in armed}
        return {symbol: age for symbol, age in ages.items() if age > UNSEEN_S}

    def clock_trouble(self) -> str:
        """Return what is wrong with stamps, or with our clock; empty: nothing is known to be."""
        return self._stamps.trouble()

    def _is_seen(self, symbol: str, now: float) -> bool:
        return self._freshness.age_s(symbol, now) <= UNSEEN_S
