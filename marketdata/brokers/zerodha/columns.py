"""Kite's frames in columns: what ``decode`` reads of packets, for all packets of a frame at once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from marketdata.brokers.zerodha.decode import FULL, INDEX_FULL, LENGTHS, price_scale
from marketdata.columns import MANY, NO_TIME, Columns, Indices, Ints

_HEAD = 2
"""Bytes before the packets, which hold their number, and before each packet, which hold its length."""
_TIME_AT = {FULL: 60, INDEX_FULL: 28}
_SMALLEST = 8
_U32 = np.dtype(">u4")


def _row(length: int) -> np.dtype[np.void]:
    fields = {"length": (">u2", 0), "token": (_U32, _HEAD), "price": (_U32, _HEAD + 4)}
    if length in _TIME_AT:
        fields["time"] = (_U32, _HEAD + _TIME_AT[length])
    names, layout = list(fields), list(fields.values())
    return np.dtype(
        {
            "names": names,
            "formats": [kind for kind, _ in layout],
            "offsets": [at for _, at in layout],
            "itemsize": _HEAD + length,
        }
    )


_ROWS = {length: _row(length) for length in LENGTHS}


class KiteColumns:
    """Reads frames whose packets are all of documented lengths, mixed or not."""

    is_trade_time = False

    def key(self, token: int) -> int:
        return token

    def read(self, frame: bytes, received_at: float) -> Columns | None:
        if len(frame) < _HEAD + MANY * (_HEAD + _SMALLEST):
            return None
        count, length = int.from_bytes(frame[:2], "big"), int.from_bytes(frame[2:4], "big")
        if count < MANY or length not in LENGTHS:
            return None
        if len(frame) == _HEAD + count * (_HEAD + length):
            rows = np.frombuffer(frame, _ROWS[length], offset=_HEAD)
            if (rows["length"] == length).all():
                return _uniform(rows, count, length)
        return _mixed(frame, count)

    def pick(self, frame: bytes, columns: Columns) -> bytes:
        return len(columns.keys).to_bytes(_HEAD, "big") + columns.cut(frame)

    def bounds(self, token: int, low: int, high: int) -> tuple[float, float]:
        scale = price_scale(token)
        return float(-(-low // scale)), float(min(high // scale, 1 << 53))

    def units(self, token: int, price: float) -> int:
        return int(price) * price_scale(token)


def _uniform(rows: np.ndarray, count: int, length: int) -> Columns:
    starts, ends = _regular(count, length)
    times = rows["time"].astype(np.int64) if length in _TIME_AT else None
    prices = rows["price"].astype(np.float64)
    return Columns(rows["token"].astype(np.uint64), prices, times, starts, ends)


@lru_cache(maxsize=64)
def _regular(count: int, length: int) -> tuple[Indices, Indices]:
    """Return where packets of one length begin and end."""
    bounds = np.arange(count + 1) * (_HEAD + length) + _HEAD
    return bounds[:-1], bounds[1:]


def _mixed(frame: bytes, count: int) -> Columns | None:
    starts, ends = _walk(frame, count)
    if len(ends) != count:
        return None
    data = np.frombuffer(frame, np.uint8)
    lengths = ends - starts - _HEAD
    times: Ints = np.full(count, NO_TIME, np.int64)
    for length, at in _TIME_AT.items():
        those = np.nonzero(lengths == length)[0]
        times[those] = _numbers(data, starts[those] + _HEAD + at, 1)[:, 0]
    heads = _numbers(data, starts + _HEAD, 2)
    return Columns(
        heads[:, 0].astype(np.uint64),
        heads[:, 1].astype(np.float64),
        times if times.any() else None,
        starts,
        ends,
    )


def _walk(frame: bytes, count: int) -> tuple[Indices, Indices]:
    """Return where each packet begins, with its length, and ends; fewer than ``count`` when one is odd."""
    bounds, at, size = [_HEAD], _HEAD, len(frame)
    for _ in range(count):
        if at + _HEAD > size:
            break
        length = frame[at] << 8 | frame[at + 1]
        at += _HEAD + length
        if length not in LENGTHS or at > size:
            break
        bounds.append(at)
    found = np.array(bounds, np.intp)
    return found[:-1], found[1:]


def _numbers(data: np.ndarray, at: Indices, count: int) -> np.ndarray:
    """Return ``count`` numbers of four bytes from each place on."""
    numbers: np.ndarray = data[at[:, None] + np.arange(4 * count)].view(_U32)
    return numbers
