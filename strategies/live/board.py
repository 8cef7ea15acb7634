"""The latest price of each symbol, and what of them is new to whom. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice, takewhile
from typing import Any

from strategies.live.frames import Frame

Price = Sequence[Any]
"""``[symbol, price as text, UNIX milliseconds of receipt]``"""
Encode = Callable[[list[Price]], Frame]
PRICES_IN_A_FRAME = 4_000
"""Some 200 kB, and no symbol is so long that it could be a megabyte."""


class PriceBoard:
    """What all viewers of the same prices share.

    Prices gather until ``turn``, which gives them the next number. A viewer remembers the number it
    has seen, and nothing else: while it does not read, it costs nothing, and afterwards it gets the
    latest price of whatever changed since. Those who have seen the same share one encoding.

    Args:
        encode: Makes a frame of prices.
        most: How many prices a frame may hold; the others come with the next one.

    """

    def __init__(self, encode: Encode, most: int = PRICES_IN_A_FRAME) -> None:
        self._encode = encode
        self._most = most
        self._coming: dict[str, Price] = {}
        self._latest: dict[str, tuple[int, Price]] = {}  # what changed last stands last
        self._frames: dict[int, tuple[Frame, int]] = {}
        self.number = 0

    @property
    def has_news(self) -> bool:
        return bool(self._coming)

    def put(self, prices: Iterable[Price]) -> None:
        """Take prices; they show after the next ``turn``."""
        for price in prices:
            self._coming[price[0]] = price

    def turn(self) -> None:
        """Show what has gathered, as much of it as a frame may hold, the longest waiting first."""
        if not self._coming:
            return
        self.number += 1
        for symbol in list(islice(self._coming, self._most)):
            self._latest.pop(symbol, None)
            self._latest[symbol] = (self.number, self._coming.pop(symbol))
        self._frames.clear()

    def since(self, number: int) -> tuple[Frame, int]:
        """Return the prices that changed after ``number``, and the number that has then been seen."""
        found = self._frames.get(number)
        if found is None:
            prices, seen = self._newer(number)
            found = self._frames[number] = (self._encode(prices), seen)
        return found

    def known(self, symbol: str) -> Price | None:
        """Return the latest price shown of a symbol."""
        found = self._latest.get(symbol)
        return None if found is None else found[1]

    def _newer(self, number: int) -> tuple[list[Price], int]:
        newer = list(takewhile(lambda known: known[0] > number, reversed(self._latest.values())))[::-1]
        # A turn shows no more than fits: what is left out begins with a later one.
        seen = self.number if len(newer) <= self._most else newer[self._most][0] - 1
        return [price for changed, price in newer if changed <= seen], seen
