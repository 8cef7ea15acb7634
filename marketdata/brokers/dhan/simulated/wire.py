"""Packets of the market feed, from the documented layout: little-endian, prices as float32 rupees."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from marketdata.brokers.dhan.simulated.catalogue import SEGMENTS, Security
from marketdata.domain.prices import UNITS_PER_RUPEE
from marketdata.simulator.exchange import Print
from marketdata.simulator.instrument import Instrument, Level

IST_AHEAD_S = 19_800
"""What the feed adds to UNIX time: it writes India's wall clock as if it were UTC."""

_U16, _U32 = 0xFFFF, 0xFFFF_FFFF
_TICKER = struct.Struct("<BHBIfI")
_QUOTE = struct.Struct("<BHBIfHIfIIIffff")
_OI = struct.Struct("<BHBII")
_PREVIOUS_CLOSE = struct.Struct("<BHBIfI")
_STATUS = struct.Struct("<BHBI")
_FULL = struct.Struct("<BHBIfHIfIIIIIIffff")
_LEVEL = struct.Struct("<IIHHff")
_DISCONNECT = struct.Struct("<BHBIH")
_FULL_SIZE = _FULL.size + 5 * _LEVEL.size
_DERIVATIVES = frozenset({"NSE_FNO", "BSE_FNO", "NSE_CURRENCY", "BSE_CURRENCY", "MCX_COMM"})


def packets(security: Security, trade: Print, mode: str) -> list[bytes]:
    """Return what one print sends to a subscriber of ``ticker``, ``quote`` or ``full``."""
    if mode == "ticker":
        return [_TICKER.pack(*_header(2, _TICKER.size, security), _rupees(trade.price), _time(trade))]
    if mode == "full":
        return [_full(security, trade)]
    open_interest = [_OI.pack(*_header(5, _OI.size, security), 0)]
    return [_quote(security, trade), *(open_interest if security.segment in _DERIVATIVES else ())]


def previous_close(security: Security, item: Instrument) -> bytes:
    """Return the packet that comes once after a subscription; in reality for indices only."""
    price = _rupees(item.previous_close)
    return _PREVIOUS_CLOSE.pack(*_header(6, _PREVIOUS_CLOSE.size, security), price, 0)


def market_status(segment: str) -> bytes:
    return _STATUS.pack(*_header(7, _STATUS.size, Security(segment, 0)))


def disconnect(code: int) -> bytes:
    """Return the packet that says why the connection ends, 800 to 814."""
    return _DISCONNECT.pack(*_header(50, _DISCONNECT.size, Security("IDX_I", 0)), code)


def _header(code: int, length: int, security: Security) -> tuple[int, int, int, int]:
    return code, length, SEGMENTS[security.segment], security.security_id


def _rupees(units: int) -> float:
    return units / UNITS_PER_RUPEE


def _time(trade: Print) -> int:
    return trade.at + IST_AHEAD_S


def _quote(security: Security, trade: Print) -> bytes:
    bids, asks = trade.instrument.bids(), trade.instrument.asks()
    return _QUOTE.pack(
        *_header(4, _QUOTE.size, security), *_deals(trade, bids, asks), *_day(trade.instrument)
    )


def _full(security: Security, trade: Print) -> bytes:
    bids, asks = trade.instrument.bids(), trade.instrument.asks()
    head, deals = _header(8, _FULL_SIZE, security), _deals(trade, bids, asks)
    return _FULL.pack(*head, *deals, 0, 0, 0, *_day(trade.instrument)) + _depth(bids, asks)


def _deals(trade: Print, bids: list[Level], asks: list[Level]) -> tuple[float | int, ...]:
    """Return price, quantity and time of the last trade, average, volume, and what waits to sell and buy."""
    item = trade.instrument
    sells, buys = (sum(quantity for _, quantity, _ in side) for side in (asks, bids))
    return (
        _rupees(trade.price), min(item.last_quantity, _U16), _time(trade), _rupees(item.average),
        item.volume & _U32, sells & _U32, buys & _U32,
    )  # fmt: skip


def _day(item: Instrument) -> tuple[float, float, float, float]:
    """Return open, close, high and low; during the session ``close`` is that of the day before."""
    return _rupees(item.open), _rupees(item.previous_close), _rupees(item.high), _rupees(item.low)


def _depth(bids: list[Level], asks: list[Level]) -> bytes:
    return b"".join(
        _LEVEL.pack(
            bid_quantity & _U32, ask_quantity & _U32, min(bid_orders, _U16), min(ask_orders, _U16),
            bid / UNITS_PER_RUPEE, ask / UNITS_PER_RUPEE,
        )
        for (bid, bid_quantity, bid_orders), (ask, ask_quantity, ask_orders) in zip(bids, asks, strict=True)
    )  # fmt: skip


def frames(waiting: list[bytes], each: int) -> Iterator[bytes]:
    """Yield frames of ``each`` packets: usually one, but clients must expect several."""
    for start in range(0, len(waiting), each):
        yield b"".join(waiting[start : start + each])


def malformed(kind: str, security: Security) -> bytes:
    """Return a frame that is not of the documented shape.

    Args:
        kind: ``truncated`` ends inside a packet, ``unknown`` has an undocumented code, ``garbage``
            is neither.
        security: Of an instrument the client subscribed to.

    Raises:
        ValueError: Another kind.

    """
    known = {
        "truncated": _TICKER.pack(*_header(2, _TICKER.size, security), 1.0, 0)[:-5],
        "unknown": _STATUS.pack(*_header(99, _STATUS.size, security)),
        "garbage": b"\xff" * 61,
    }
    if kind not in known:
        raise ValueError(f"unknown kind of malformed frame {kind!r}: there are {', '.join(known)}")
    return known[kind]
