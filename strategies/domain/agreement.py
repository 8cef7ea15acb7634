"""Whether the feeds that carry one instrument agree on its price."""

from __future__ import annotations

from collections.abc import Mapping

BAND_PERCENT = 1
"""Prices further apart than this disagree."""

DISPUTE_S = 1.0
"""How long they must do so: one feed may simply be the quicker one."""

FRESH_S = 5.0
"""A feed that has not spoken for longer has no opinion."""


class Agreement:
    """The latest price of each feed, and since when they have been apart. Times in seconds."""

    __slots__ = ("_apart_since", "_latest", "_told")

    def __init__(self) -> None:
        self._latest: dict[int, tuple[int, float]] = {}
        self._apart_since: float | None = None
        self._told = False

    def note(self, feed: int, price: int, at: float) -> bool:
        """Take a feed's price (units); True, once for each dispute, when it has become one."""
        self._latest[feed] = (price, at)
        if len(self._latest) == 1:
            return False
        self._compare(at)
        is_news = self.is_disputed(at) and not self._told
        self._told = self._told or is_news
        return is_news

    def is_only(self, feed: int) -> bool:
        """Tell whether no other feed has spoken."""
        return not self._latest.keys() - {feed}

    def is_disputed(self, now: float) -> bool:
        """Tell whether the feeds have been apart for longer than a moment."""
        return self._apart_since is not None and now - self._apart_since > DISPUTE_S

    def prices(self, now: float) -> Mapping[int, int]:
        """Return the prices (units) of the feeds that have spoken lately, by feed."""
        return {feed: price for feed, (price, at) in self._latest.items() if now - at <= FRESH_S}

    def _compare(self, now: float) -> None:
        prices = self.prices(now).values()
        low, high = min(prices), max(prices)
        if (high - low) * 100 <= low * BAND_PERCENT:
            self._apart_since, self._told = None, False
        elif self._apart_since is None:
            self._apart_since = now
