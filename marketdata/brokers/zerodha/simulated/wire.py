"""Packets of the ticker, from the documented layout: big-endian, the kind told by the length."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from marketdata.brokers.zerodha.simulated.catalogue import units_per_step
from marketdata.simulator.exchange import Print
from marketdata.simulator.instrument import Instrument, Level

HEARTBEAT = b"\x00"
_PER_FRAME = 300
_U32 = 0xFFFF_FFFF
_LTP = struct.Struct(">2I")
_INDEX_QUOTE = struct.Struct(">7I")
_INDEX_FULL = struct.Struct(">8I")
_QUOTE = struct.Struct(">11I")
_FULL_TAIL = struct.Struct(">5I")
_LEVEL = struct.Struct(">2IHxx")
_COUNT = struct.Struct(">H")


def packet(token: int, trade: Print, mode: str) -> bytes:
    """Return one packet of ``ltp``, ``quote`` or ``full``."""
    step = units_per_step(token)
    # The wire has no sign: what is below zero shows as zero.
    price = max(0, trade.price) // step
    if mode == "ltp":
        return _LTP.pack(token, price)
    if trade.instrument.listing.is_index:
        return _index(token, price, trade, step, mode)
    bids, asks = trade.instrument.bids(), trade.instrument.asks()
    quote = _quote(token, price, trade.instrument, bids, asks)
    return quote if mode == "quote" else quote + _tail(trade, (*bids, *asks), step)


def _index(token: int, price: int, trade: Print, step: int, mode: str) -> bytes:
    item = trade.instrument
    change = (price - item.previous_close // step) & _U32
    values = (
        token,
        price,
        item.high // step,
        item.low // step,
        item.open // step,
        item.previous_close // step,
    )
    if mode == "quote":
        return _INDEX_QUOTE.pack(*values, change)
    return _INDEX_FULL.pack(*values, change, trade.at)


def _quote(token: int, price: int, item: Instrument, bids: list[Level], asks: list[Level]) -> bytes:
    step = units_per_step(token)
    return _QUOTE.pack(
        token, price, item.last_quantity & _U32, item.average // step, item.volume & _U32,
        sum(level.quantity for level in bids) & _U32, sum(level.quantity for level in asks) & _U32,
        item.open // step, item.high // step, item.low // step, item.previous_close // step,
    )  # fmt: skip


def _tail(trade: Print, levels: Iterable[Level], step: int) -> bytes:
    times = _FULL_TAIL.pack(trade.instrument.last_trade_time, 0, 0, 0, trade.at)
    depth = [_LEVEL.pack(quantity & _U32, price // step, orders) for price, quantity, orders in levels]
    return times + b"".join(depth)


def frames(packets: list[bytes]) -> list[bytes]:
    """Return the frames that carry ``packets``, several in each."""
    return list(_frames(packets))


def _frames(packets: list[bytes]) -> Iterator[bytes]:
    for start in range(0, len(packets), _PER_FRAME):
        part = packets[start : start + _PER_FRAME]
        yield _COUNT.pack(len(part)) + b"".join(_COUNT.pack(len(p)) + p for p in part)


def malformed(kind: str, token: int) -> bytes:
    """Return a frame that is not of the documented shape.

    Args:
        kind: ``truncated`` ends inside a packet, ``unknown`` has a packet of an undocumented
            length, ``garbage`` is neither.
        token: Of an instrument the client subscribed to.

    Raises:
        ValueError: Another kind.

    """
    known = {
        "truncated": frames([_QUOTE.pack(token, *(0,) * 10)])[0][:-7],
        "unknown": frames([_LTP.pack(token, 1) + b"\x00" * 5])[0],
        "garbage": b"\xff" * 61,
    }
    if kind not in known:
        raise ValueError(f"unknown kind of malformed frame {kind!r}: there are {', '.join(known)}")
    return known[kind]
