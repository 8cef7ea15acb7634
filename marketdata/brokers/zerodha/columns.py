"""Kite's frames in columns: what ``decode`` reads of packets, for all packets of a frame at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

import numpy as np

from marketdata.brokers.zerodha.decode import FULL, INDEX_FULL, LENGTHS, price_scale
from marketdata.columns import FEW, MANY, NO_TIME, Columns, Few, Indices, Ints

_HEAD = 2
"""Bytes before the packets, which hold their number, and before each packet, which hold its length."""
_TIME_AT = {FULL: 60, INDEX_FULL: 28}
_U32 = np.dtype(">u4")
_MARK = Struct(">Q")
_MARKS = np.dtype(">u8")
"""Token and price stand side by side, four bytes each: as one number they are a mark."""


def _row(length: int) -> np.dtype[np.void]:
    fields = {"token": (_U32, _HEAD), "price": (_U32, _HEAD + 4)}
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
    has_marks = True

    def key(self, token: int) -> int:
        return token

    def read(self, frame: bytes, received_at: float) -> Columns | None:
        if (count := _count(frame)) < MANY:
            return None
        length = _one_length(frame, count)
        return _mixed(frame, count) if length is None else _uniform(frame, count, length)

    def few(self, frame: bytes) -> Few | None:
        if not MANY <= (count := _count(frame)) <= FEW:
            return None
        if (length := _one_length(frame, count)) is None:
            bounds = _walk(frame, count)
            return _few(frame, bounds) if len(bounds) > count else None
        each = _HEAD + length
        return Few(np.ndarray((count,), _MARKS, frame, 2 * _HEAD, (each,)), each)

    def pick(self, frame: bytes, numbers: Sequence[int], each: int | None = None) -> bytes:
        if each is None:
            bounds = _bounds(frame)
            packets = [frame[bounds[number] : bounds[number + 1]] for number in numbers]
        else:
            packets = [frame[_HEAD + number * each : _HEAD + (number + 1) * each] for number in numbers]
        return len(numbers).to_bytes(_HEAD, "big") + b"".join(packets)

    def bounds(self, token: int, low: int, high: int) -> tuple[int, int]:
        scale = price_scale(token)
        return -(-low // scale), min(high // scale, 1 << 53)

    def units(self, token: int, price: float) -> int:
        return int(price) * price_scale(token)


def _count(frame: bytes) -> int:
    return frame[0] << 8 | frame[1] if len(frame) > _HEAD else 0


def _one_length(frame: bytes, count: int) -> int | None:
    """Return the length of all packets; None: they differ, or are odd."""
    if len(frame) < 2 * _HEAD:
        return None
    length = frame[_HEAD] << 8 | frame[_HEAD + 1]
    each = _HEAD + length
    if length not in LENGTHS or len(frame) != _HEAD + count * each:
        return None
    return length if _is_everywhere(frame, _HEAD, _HEAD, each) else None


def _bounds(frame: bytes) -> Sequence[int]:
    """Return where each packet begins, with its length, and where the last one ends."""
    count = _count(frame)
    length = _one_length(frame, count)
    return _walk(frame, count) if length is None else range(_HEAD, len(frame) + 1, _HEAD + length)


def _is_everywhere(frame: bytes, at: int, size: int, each: int) -> bool:
    """Tell whether the bytes at a place are there again and again, ``each`` bytes further."""
    for start in range(at, at + size):
        column = frame[start::each]
        if column.count(column[0]) != len(column):
            return False
    return True


def _uniform(frame: bytes, count: int, length: int) -> Columns:
    rows = np.frombuffer(frame, _ROWS[length], offset=_HEAD)
    times = rows["time"].astype(np.int64) if length in _TIME_AT else None
    return Columns(rows["token"].astype(np.uint64), rows["price"].astype(np.float64), times, _numbered(count))


@lru_cache(maxsize=64)
def _numbered(count: int) -> Indices:
    return np.arange(count)


def _few(frame: bytes, bounds: Sequence[int]) -> Few:
    """Read the packets that are there, with their lengths."""
    marks = [_MARK.unpack_from(frame, at + _HEAD)[0] for at in bounds[:-1]]
    return Few(np.array(marks, np.uint64), None)


def _mixed(frame: bytes, count: int) -> Columns | None:
    bounds = np.array(_walk(frame, count), np.intp)
    if len(bounds) <= count:
        return None
    starts, data = bounds[:-1], np.frombuffer(frame, np.uint8)
    lengths = bounds[1:] - starts - _HEAD
    times: Ints = np.full(count, NO_TIME, np.int64)
    for length, at in _TIME_AT.items():
        those = np.nonzero(lengths == length)[0]
        times[those] = _numbers(data, starts[those] + _HEAD + at, 1)[:, 0]
    heads = _numbers(data, starts + _HEAD, 2)
    return Columns(
        heads[:, 0].astype(np.uint64),
        heads[:, 1].astype(np.float64),
        times if times.any() else None,
        _numbered(count),
    )


def _walk(frame: bytes, count: int) -> list[int]:
    """Return where each packet begins, with its length, and where the last ends; fewer when one is odd."""
    bounds, at, size = [_HEAD], _HEAD, len(frame)
    for _ in range(count):
        if at + _HEAD > size:
            break
        length = frame[at] << 8 | frame[at + 1]
        at += _HEAD + length
        if length not in LENGTHS or at > size:
            break
        bounds.append(at)
    return bounds


def _numbers(data: np.ndarray, at: Indices, count: int) -> np.ndarray:
    """Return ``count`` numbers of four bytes from each place on."""
    numbers: np.ndarray = data[at[:, None] + np.arange(4 * count)].view(_U32)
    return numbers
