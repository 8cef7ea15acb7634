"""The latest price of each symbol, and what of them is new to whom. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from strategies.live.frames import Frame

Price = Sequence[Any]
"""``[symbol, price as text, UNIX milliseconds of receipt]``"""
Encode = Callable[[list[Price]], Frame]


class PriceBoard:
    """What all viewers of the same prices share.

    Prices gather until ``turn``, which gives them the next number. A viewer remembers the number it
    has seen, and nothing else: while it does not read, it costs nothing, and afterwards it gets the
    latest price of whatever changed since. Those who have seen the same share one encoding.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._coming: dict[str, Price] = {}
        self._latest: dict[str, tuple[int, Price]] = {}  # what changed last stands last
        self._frames: dict[int, Frame] = {}
        self.number = 0

    @property
    def has_news(self) -> bool:
        return bool(self._coming)

    def put(self, prices: Iterable[Price]) -> None:
        """Take prices; they show after the next ``turn``."""
        for price in prices:
            self._coming[price[0]] = price

    def turn(self) -> None:
        """Show what has gathered."""
        if not self._coming:
            return
        self.number += 1
        for symbol, price in self._coming.items():
            self._latest.pop(symbol, None)
            self._latest[symbol] = (self.number, price)
        self._coming.clear()
        self._frames.clear()

    def since(self, number: int) -> Frame:
        """Return the frame of all prices that changed after ``number``."""
        frame = self._frames.get(number)
        if frame is None:
            frame = self._frames[number] = self._encode(self._newer(number))
        return frame

    def known(self, symbol: str) -> Price | None:
        """Return the latest price shown of a symbol."""
        found = self._latest.get(symbol)
        return None if found is None else found[1]

    def _newer(self, number: int) -> list[Price]:
        newer = []
        for changed, price in reversed(self._latest.values()):
            if changed <= number:
                break
            newer.append(price)
        newer.reverse()
        return newer
