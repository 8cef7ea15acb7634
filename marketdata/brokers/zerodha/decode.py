"""Kite's binary frames, exactly. Standard library only; reads no clock and holds no socket.

Source: Kite Connect 3 documentation, "WebSocket streaming"; the official Python client's
``_parse_binary``, with which the tests compare every field.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from marketdata.domain.errors import BadFrame
from marketdata.domain.prices import UNITS_PER_RUPEE
from marketdata.domain.ticks import Tick

# The low byte of a token is its segment. Currency has finer prices than all others.
_CDS, _BCD, _NCO = 3, 6, 12
_SCALES = {
    _CDS: UNITS_PER_RUPEE // 10_000_000,
    _BCD: UNITS_PER_RUPEE // 10_000,
    _NCO: UNITS_PER_RUPEE // 10_000,
}
_SCALE = UNITS_PER_RUPEE // 100

_U16 = struct.Struct(">H")
_TOKEN_PRICE = struct.Struct(">II")
_INDEX_FULL = struct.Struct(">II20xI")  # token, last price, exchange time
_FULL = struct.Struct(">II52xI4xI56xI")  # token, last price, exchange time at 60, bid at 68, ask at 128

# The length of a packet is the only sign of its kind.
LTP, INDEX_QUOTE, INDEX_FULL, QUOTE, FULL = 8, 28, 32, 44, 184
_UNTIMED = frozenset({LTP, INDEX_QUOTE, QUOTE})
LENGTHS = frozenset({*_UNTIMED, INDEX_FULL, FULL})
_HEARTBEAT = 1


class Decoded(NamedTuple):
    """What a frame held.

    Attributes:
        ticks: In wire order.
        skipped: Packets of a length that is not documented.

    """

    ticks: list[Tick]
    skipped: int


def decode(frame: bytes, *, received_at: float, symbols: Mapping[int, str]) -> Decoded:
    """Decode one binary WebSocket message.

    Args:
        frame: ``uint16 count``, then ``count`` times (``uint16 length``, packet), big-endian,
            of mixed lengths. One byte alone is a heartbeat. Bytes after the last packet are ignored.
        received_at: UNIX seconds, stamped on every tick.
        symbols: Canonical symbol by token. A packet of another token is passed over: the
            last ones of an instrument arrive after it was unsubscribed.

    Returns:
        The ticks, with prices in units. A price of zero (no trade yet) is a tick all the same.
        The exchange's time is None where the packet has none, or says zero.

    Raises:
        BadFrame: Shorter than its own counts and lengths say.

    """
    size = len(frame)
    if size == _HEARTBEAT:
        return Decoded([], 0)
    if size < _U16.size:
        raise BadFrame("empty frame")
    ticks: list[Tick] = []
    skipped, offset = 0, _U16.size
    for number in range(_U16.unpack_from(frame)[0]):
        start = offset + _U16.size
        if start > size:
            raise BadFrame(f"frame of {size} bytes ends before the length of packet {number + 1}")
        length = _U16.unpack_from(frame, offset)[0]
        offset = start + length
        if offset > size:
            raise BadFrame(f"frame of {size} bytes ends within packet {number + 1} of {length} bytes")
        if length not in LENGTHS:
            skipped += 1
        elif (tick := _packet(frame, start, length, received_at, symbols)) is not None:
            ticks.append(tick)
    return Decoded(ticks, skipped)


def price_scale(token: int) -> int:
    """Return how many units one of the wire's whole numbers is."""
    return _SCALES.get(token & 0xFF, _SCALE)


def _packet(
    frame: bytes, start: int, length: int, received_at: float, symbols: Mapping[int, str]
) -> Tick | None:
    token, price = _TOKEN_PRICE.unpack_from(frame, start)
    symbol = symbols.get(token)
    if symbol is None:
        return None
    scale = price_scale(token)
    if length in _UNTIMED:
        return Tick(symbol, price * scale, received_at)
    if length == INDEX_FULL:
        _, _, time = _INDEX_FULL.unpack_from(frame, start)
        return Tick(symbol, price * scale, received_at, time or None)
    _, _, time, bid, ask = _FULL.unpack_from(frame, start)
    return Tick(symbol, price * scale, received_at, time or None, False, bid * scale, ask * scale)
