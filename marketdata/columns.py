"""Packets of one message in columns, so that thousands are looked at with a few comparisons.

What a broker's frames look like in columns is said under ``marketdata/brokers/<broker>``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marketdata.subscribed import WireToken

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Keys: TypeAlias = NDArray[np.uint64]
Flags: TypeAlias = NDArray[np.bool_]
Indices: TypeAlias = NDArray[np.intp]

MANY = 12
"""From so many packets on, columns cost less than one packet after the other."""
FEW = 200
"""Up to so many, one search for all of them is sooner done than comparing columns: a frame that comes after a
pause finds the processor's caches empty, and each operation on columns has to fetch its own code."""

NO_TIME = 0
"""The packet has no exchange time, as is usual in its mode."""
UNKNOWN_AGE = -1
"""The packet should have one and has not: it may be any old value."""


class Columns(NamedTuple):
    """Packets in wire order.

    Attributes:
        keys: Whose they are, see ``ColumnReader.key``.
        prices: As the wire writes them; a double holds each exactly.
        times: UNIX seconds, ``NO_TIME`` or ``UNKNOWN_AGE``; None: none has one.
        numbers: Which packet of the frame each is, from 0.

    """

    keys: Keys
    prices: Floats
    times: Ints | None
    numbers: Indices

    def only(self, chosen: Flags) -> Columns:
        """Return some of the packets."""
        times = None if self.times is None else self.times[chosen]
        return Columns(self.keys[chosen], self.prices[chosen], times, self.numbers[chosen])


class Few(NamedTuple):
    """Packets in wire order, of a small frame.

    Attributes:
        marks: Key and price of each, see ``edges.mark``.
        each: How many bytes of the frame each is; None: not all are alike.

    """

    marks: Keys
    each: int | None


class ColumnReader(Protocol):
    """How one connection's frames are read in columns."""

    is_trade_time: bool
    has_marks: bool
    """``few`` is of use: keys and prices are whole numbers below 2**32."""

    def key(self, token: WireToken) -> int:
        """Return the number, below 2**64, by which columns name a token."""
        ...

    def read(self, frame: bytes, received_at: float) -> Columns | None:
        """Return a frame's packets; None: there are few, or not all are plain prices: decode them."""
        ...

    def few(self, frame: bytes) -> Few | None:
        """Return the packets of a frame that ``read`` takes, if they are up to ``FEW`` and have marks."""
        ...

    def pick(self, frame: bytes, numbers: Sequence[int], each: int | None = None) -> bytes:
        """Return a frame of only these packets of one that ``read`` takes; ``each`` as ``few`` has told it."""
        ...

    def bounds(self, token: WireToken, low: int, high: int) -> tuple[float, float]:
        """Return an interval of wire prices that are surely within ``low`` to ``high`` (units, included)."""
        ...

    def units(self, token: WireToken, price: float) -> int:
        """Return a wire price in units, exactly as the decoder does."""
        ...


class Slots:
    """Finds the slot of each key of a column: a perfect hash, so no key is searched for."""

    _SHIFTED = 64

    def __init__(self, keys: list[int]) -> None:
        """Number ``keys`` in their order; every other key has slot ``len(keys)``."""
        self.unknown = len(keys)
        self._keys = np.array([*keys, 0], dtype=np.uint64)
        # A quarter of the square of their number: every third multiplier is without collision.
        self._bits = max(8, (len(keys) ** 2 // 4).bit_length())
        self._multiplier, places = self._search(self._keys[:-1])
        self._table = np.full(1 << self._bits, self.unknown, dtype=np.uint16)
        self._table[places] = np.arange(self.unknown)

    def of(self, keys: Keys) -> Indices:
        """Return the slot of each key."""
        slots: Indices = self._table[(keys * self._multiplier) >> self._shift].astype(np.intp)
        strangers = self._keys[slots] != keys
        if strangers.any():
            slots[strangers] = self.unknown
        return slots

    @property
    def _shift(self) -> np.uint64:
        return np.uint64(self._SHIFTED - self._bits)

    def _search(self, keys: Keys) -> tuple[np.uint64, Any]:
        rng = np.random.default_rng(len(keys))
        while True:
            multiplier = np.uint64(int(rng.integers(1 << 62)) * 2 + 1)
            places = (keys * multiplier) >> self._shift
            if len(np.unique(places)) == len(keys):
                return multiplier, places
