"""Dhan's frames in columns: what ``decode`` reads of packets, for all packets of one kind at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from marketdata.brokers.dhan.decode import FULL, IST_S, NEAR_S, QUOTE, SIZES, TICKER, Security, price_units
from marketdata.columns import MANY, UNKNOWN_AGE, Columns, Floats, Ints
from marketdata.domain.prices import UNITS_PER_RUPEE

_LENGTH_ENDS = 3
"""Of a packet that begins with its kind and its length."""
_PRICE_AT = 8
_TIME_AT = {TICKER: 12, QUOTE: 14, FULL: 14}
_SNAP = UNITS_PER_RUPEE // 100
"""Half a paisa either way, and as much again: no price is moved further when it is snapped to its grid."""
_ONE_STEP = 2.0**-22


def _row(kind: int) -> np.dtype[np.void]:
    return np.dtype(
        {
            "names": ["kind", "length", "segment", "security", "price", "time"],
            "formats": ["u1", "<u2", "u1", "<u4", "<f4", "<u4"],
            "offsets": [0, 1, 3, 4, _PRICE_AT, _TIME_AT[kind]],
            "itemsize": SIZES[kind],
        }
    )


_ROWS = {kind: _row(kind) for kind in _TIME_AT}


class DhanColumns:
    """Reads frames, or several put together, whose packets are all of one kind with a price and a time."""

    is_trade_time = True
    has_marks = False

    def __init__(self, steps: Mapping[Security, int]) -> None:
        self._steps = steps

    def key(self, token: Security) -> int:
        segment, security = token
        return segment << 32 | security

    def read(self, frame: bytes, received_at: float) -> Columns | None:
        layout = _ROWS.get(frame[0]) if frame else None
        if layout is None or len(frame) < MANY * layout.itemsize or len(frame) % layout.itemsize:
            return None
        rows = np.frombuffer(frame, layout)
        if not ((rows["kind"] == frame[0]) & (rows["length"] == layout.itemsize)).all():
            return None
        keys = rows["segment"].astype(np.uint64) << np.uint64(32) | rows["security"]
        times = _utc(rows["time"], received_at)
        return Columns(keys, _rupees(rows["price"]), times, np.arange(len(rows)))

    def few(self, frame: bytes) -> None:
        return None

    def pick(self, frame: bytes, numbers: Sequence[int], each: int | None = None) -> bytes:
        size = _ROWS[frame[0]].itemsize
        return b"".join(frame[number * size : (number + 1) * size] for number in numbers)

    def bounds(self, token: Security, low: int, high: int) -> tuple[float, float]:
        """Return an interval that is narrower by what snapping may move a price: near it the decoder decides."""
        steps = (low + _SNAP, high - _SNAP)
        return steps[0] / UNITS_PER_RUPEE * (1 + _ONE_STEP), steps[1] / UNITS_PER_RUPEE * (1 - _ONE_STEP)

    def units(self, token: Security, price: float) -> int:
        return price_units(price, token, self._steps)


def joined(messages: Sequence[bytes | str]) -> Sequence[bytes | str]:
    """Put packets that came one a message into one frame, where all are whole and of one kind."""
    if len(messages) < MANY:
        return messages
    packets = [message for message in messages if isinstance(message, bytes)]
    head = packets[0][:_LENGTH_ENDS] if packets else b""
    size = SIZES.get(head[0]) if head else None
    is_alike = len(packets) == len(messages) and size == int.from_bytes(head[1:], "little")
    if is_alike and all(len(one) == size and one[:_LENGTH_ENDS] == head for one in packets):
        return [b"".join(packets)]
    return messages


def _rupees(written: np.ndarray) -> Floats:
    return written.astype(np.float64)


def _utc(written: np.ndarray, received_at: float) -> Ints:
    """Return trade times as ``decode`` understands them."""
    times = written.astype(np.int64)
    indian = np.where(times > IST_S, times - IST_S, UNKNOWN_AGE)
    return np.where(np.abs(times - received_at) <= NEAR_S, times, indian)
