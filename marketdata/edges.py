"""Keys and the bounds of their prices on one line, so that one search tells of a packet both whose it is and whether it is quiet."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from itertools import compress, count

import numpy as np

from marketdata.columns import Indices, Keys

_PRICE_BITS = 32
_HIGHEST = (1 << _PRICE_BITS) - 2
"""What comes after it is still a price."""
_SIZE = np.dtype(np.intp).itemsize
_LOW_BYTE = 0 if sys.byteorder == "little" else _SIZE - 1
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


def loud_ones(found: Indices) -> list[int]:
    """Return the numbers of the marks that are not quiet; ``found`` is what ``find`` has returned of all."""
    # The low bytes tell, without a number being made of each place.
    return list(compress(count(), found.tobytes()[_LOW_BYTE::_SIZE].translate(_IS_EVEN)))


def quiet_ones(found: Indices, slots: Collection[int]) -> list[int]:
    """Return the numbers of the quiet marks of these slots; mostly there are none, and the bytes tell as much."""
    places = found.tobytes()
    wanted = [place for slot in slots if (place := 2 * slot + 1).to_bytes(_SIZE, sys.byteorder) in places]
    return [at for at, place in enumerate(found.tolist()) if place in wanted] if wanted else []


def mark(key: int, price: int) -> int:
    """Return a packet's key and price as one number."""
    return key << _PRICE_BITS | price


def key_of(mark: int) -> int:
    """Return the key of a mark."""
    return mark >> _PRICE_BITS
