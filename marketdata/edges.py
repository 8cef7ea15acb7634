"""Keys and the bounds of their prices on one line, so that one search tells of a packet both whose it is and whether it is quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import compress, count
from struct import Struct

import numpy as np

from marketdata.columns import Indices, Keys

_PRICE_BITS = 32
_HIGHEST = (1 << _PRICE_BITS) - 2
"""What comes after it is still a price."""
_PLACE = Struct("n")
_LOW_BYTE = 0 if sys.byteorder == "little" else _PLACE.size - 1
_IS_EVEN = bytes(1 - low % 2 for low in range(256))


class Edges:
    """For each slot the first mark that is quiet, and the first after those that is not; see ``mark``.

    Both are the same while the slot is shut: no mark is quiet then.
    """

    def __init__(self, keys: Sequence[int]) -> None:
        """Number ``keys``, below 2**32 and rising, in their order; all are shut."""
        self._firsts = [mark(key, 0) for key in keys]
        self._line = np.repeat(np.array(self._firsts, np.uint64), 2)

    def put(self, slot: int, low: int, high: int) -> None:
        """Let prices from ``low`` to ``high`` be quiet; none if there are none between."""
        low, high = max(low, 0), min(high, _HIGHEST)
        first = self._firsts[slot]
        self._line[2 * slot : 2 * slot + 2] = (first + low, first + high + 1) if low <= high else first

    def find(self, marks: Keys) -> Indices:
        """Return twice the slot and one for each mark that is quiet, an even number for each other."""
        found: Indices = self._line.searchsorted(marks, "right")
        return found


def loud_ones(places: bytes) -> list[int]:
    """Return the numbers of the marks that are not quiet; ``places`` are the bytes of what ``find`` has returned.

    Bytes, because of most marks nothing is asked but this: no number has to be made of their places.
    """
    return list(compress(count(), places[_LOW_BYTE :: _PLACE.size].translate(_IS_EVEN)))


def may_be_quiet(places: bytes, slots: Iterable[int]) -> bool:
    """Tell whether a mark of one of these slots is quiet: seldom, where it is not; always, where it is."""
    for slot in slots:  # noqa: SIM110 - a generator would be one thing more to fetch before a decision
        if _PLACE.pack(2 * slot + 1) in places:
            return True
    return False


def mark(key: int, price: int) -> int:
    """Return a packet's key and price as one number."""
    return key << _PRICE_BITS | price


def key_of(mark: int) -> int:
    """Return the key of a mark."""
    return mark >> _PRICE_BITS
