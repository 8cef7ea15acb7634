"""Dhan's binary frames, exactly. Standard library only; reads no clock and holds no socket.

Source: DhanHQ v2 documentation, "Live Market Feed"; the official Python client's
``MarketFeed.process_data``, with which the tests compare every field. That client looks at the
first packet of a frame only, cuts every price to two decimals and keeps the reason of a
disconnect to itself.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from marketdata.domain.errors import BadFrame
from marketdata.domain.prices import UNITS_PER_RUPEE
from marketdata.domain.ticks import Tick

Security = tuple[int, int]
"""A segment's number and a security id, which means nothing without it: what a frame names."""

SEGMENTS: Mapping[str, int] = {
    "IDX_I": 0, "NSE_EQ": 1, "NSE_FNO": 2, "NSE_CURRENCY": 3,
    "BSE_EQ": 4, "MCX_COMM": 5, "BSE_CURRENCY": 7, "BSE_FNO": 8,
}  # fmt: skip
"""How frames number the segments."""

_HEADER = struct.Struct("<BHBI")  # kind, length of the whole packet, segment, security id
_VALUE = struct.Struct("<8xfI")  # ticker: last price, trade time; previous close: price, open interest
_DEPTH = struct.Struct("<8xf12xff")  # last price, best bid, best ask
_QUOTE = struct.Struct("<8xf2xI")  # last price, trade time
_FULL = struct.Struct("<8xf2xI56xff")  # last price, trade time, best bid, best ask
_U32 = struct.Struct("<8xI")
_U16 = struct.Struct("<8xH")

HEARTBEAT, INDEX, TICKER, DEPTH, QUOTE = 0, 1, 2, 3, 4
OPEN_INTEREST, PREVIOUS_CLOSE, MARKET_STATUS, FULL, DISCONNECT = 5, 6, 7, 8, 50
SIZES: Mapping[int, int] = {
    HEARTBEAT: 8,
    INDEX: 8,  # named in the documentation, which says nothing about what follows the header
    TICKER: 16,
    DEPTH: 112,
    QUOTE: 50,
    OPEN_INTEREST: 12,
    PREVIOUS_CLOSE: 16,
    MARKET_STATUS: 8,
    FULL: 162,
    DISCONNECT: 10,
}
"""Bytes that each kind of packet has at least, header included."""
_PRICED = frozenset({TICKER, DEPTH, QUOTE, FULL})

IST_S = 19_800
"""India's clock is ahead of UTC by so many seconds, and so are the times in packets."""
NEAR_S = 30
_PAISA, _FINEST = UNITS_PER_RUPEE // 100, UNITS_PER_RUPEE // 10_000
_INDICES, _CURRENCIES = 0, frozenset({3, 7})
_LIMIT = float(1 << 63)  # a price beyond is damage, and nothing further on could hold it
_ONE_STEP = 2.0**-23  # between two neighbouring float32, as a share of their value


class OpenInterest(NamedTuple):
    """Contracts open in a derivative; comes beside quote packets."""

    security: Security
    contracts: int


class PreviousClose(NamedTuple):
    """The last session's close in units, and its open interest; seen for indices only."""

    security: Security
    price: int
    open_interest: int


class MarketStatus(NamedTuple):
    """A market opened or closed; the packet does not say which."""

    segment: int


Note = OpenInterest | PreviousClose | MarketStatus


class _Priced(NamedTuple):
    # A packet with prices as it is written. Without depth: no bid, no ask.
    last: float
    time: int
    bid: float | None = None
    ask: float | None = None


class _Grid(NamedTuple):
    # The multiples of which prices are, in units. Step zero: the tick size is not known.
    step: int
    finest: int


class Decoded(NamedTuple):
    """What a frame held.

    Attributes:
        ticks: In wire order.
        notes: What else was told.
        disconnect: The broker's reason for ending the connection; None when it does not.
        skipped: Packets of a kind that is not documented, or with an impossible price.

    """

    ticks: list[Tick]
    notes: list[Note]
    disconnect: int | None
    skipped: int


def decode(
    frame: bytes, *, received_at: float, symbols: Mapping[Security, str], steps: Mapping[Security, int]
) -> Decoded:
    """Decode one binary WebSocket message.

    Args:
        frame: Packets one after another, little-endian, each with its length in its header.
        received_at: UNIX seconds, stamped on every tick.
        symbols: Canonical symbol by security. A packet of another security is passed over: the
            last ones of an instrument arrive after it was unsubscribed.
        steps: Tick size in units by security, where known. Prices are float32 and snapped to it.

    Returns:
        The ticks, with prices in units and the last trade's time in UTC. A price of zero (no
        trade yet) is a tick all the same; one without a trade's time is marked as no news.

    Raises:
        BadFrame: Shorter than its packets say.

    """
    ticks: list[Tick] = []
    notes: list[Note] = []
    disconnect: int | None = None
    skipped, offset = 0, 0
    if not frame:
        raise BadFrame("empty frame")
    while offset < len(frame):
        kind, security, end = _packet(frame, offset)
        if kind in _PRICED:
            if (symbol := symbols.get(security)) is not None:
                tick = _tick(symbol, received_at, _priced(frame, offset, kind), _grid(security, steps))
                if tick is None:
                    skipped += 1
                else:
                    ticks.append(tick)
        elif kind == DISCONNECT:
            (disconnect,) = _U16.unpack_from(frame, offset)
        elif (note := _note(frame, offset, kind, security)) is not None:
            notes.append(note)
        elif kind not in (HEARTBEAT, INDEX):
            skipped += 1
        offset = end
    return Decoded(ticks, notes, disconnect, skipped)


def _packet(frame: bytes, offset: int) -> tuple[int, Security, int]:
    # Returns its kind, whose it is and where it ends.
    left = len(frame) - offset
    if left < _HEADER.size:
        raise BadFrame(f"frame of {len(frame)} bytes ends within the header of a packet")
    kind, length, segment, security_id = _HEADER.unpack_from(frame, offset)
    size = SIZES.get(kind, _HEADER.size)
    if left == size:
        length = size  # the last packet shows its own length; the official client never reads the other
    if not size <= length <= left:
        raise BadFrame(f"packet of kind {kind} says {length} bytes: needs {size}, {left} are left")
    return kind, (segment, security_id), offset + length


def _priced(frame: bytes, offset: int, kind: int) -> _Priced:
    if kind == FULL:
        return _Priced(*_FULL.unpack_from(frame, offset))
    if kind == DEPTH:  # of the feed's first version: it has no time
        last, bid, ask = _DEPTH.unpack_from(frame, offset)
        return _Priced(last, 0, bid, ask)
    return _Priced(*(_VALUE if kind == TICKER else _QUOTE).unpack_from(frame, offset))


def _grid(security: Security, steps: Mapping[Security, int]) -> _Grid:
    # An index is computed, not traded: it keeps to no tick.
    segment = security[0]
    step = 0 if segment == _INDICES else steps.get(security, 0)
    return _Grid(step, _FINEST if segment in _CURRENCIES else _PAISA)


def _tick(symbol: str, received_at: float, packet: _Priced, grid: _Grid) -> Tick | None:
    price = _units(packet.last, grid)
    if price is None:
        return None
    traded_at = _utc(packet.time, received_at)
    return Tick(
        symbol,
        price,
        received_at,
        traded_at,
        # Without a time, it may be any old value: no better than the answer to a subscription.
        is_first=traded_at is None,
        bid=_side(packet.bid, grid),
        ask=_side(packet.ask, grid),
        is_trade_time=True,
    )


def _note(frame: bytes, offset: int, kind: int, security: Security) -> Note | None:
    if kind == OPEN_INTEREST:
        return OpenInterest(security, _U32.unpack_from(frame, offset)[0])
    if kind == MARKET_STATUS:
        return MarketStatus(security[0])
    if kind == PREVIOUS_CLOSE:
        rupees, contracts = _VALUE.unpack_from(frame, offset)
        price = _units(rupees, _grid(security, {}))
        return None if price is None else PreviousClose(security, price, contracts)
    return None


def price_units(rupees: float, security: Security, steps: Mapping[Security, int]) -> int:
    """Return the units of a price that is known to be possible."""
    return _units(rupees, _grid(security, steps)) or 0


def _units(rupees: float, grid: _Grid) -> int | None:
    """Return the price that the float32 stands for; None when it is none."""
    units = rupees * UNITS_PER_RUPEE  # exact: 24 bits by 17
    if not -_LIMIT < units < _LIMIT:  # infinities and what is no number, too
        return None
    if grid.step:
        nearest = round(units / grid.step) * grid.step
        if abs(nearest - units) <= abs(units) * _ONE_STEP:
            return nearest
        # Further away than a float32 errs: the list's tick size is not the one traded at.
    return round(units / grid.finest) * grid.finest


def _side(rupees: float | None, grid: _Grid) -> int | None:
    # Before the open there are bids and asks of -0.01.
    return None if rupees is None else max(_units(rupees, grid) or 0, 0)


def _utc(time: int, received_at: float) -> int | None:
    """Return a trade's time, which is written as India's wall clock; None when there was no trade.

    One that is right as it stands, to half a minute, is left so: should Dhan begin to send UTC,
    each price would look hours old. A trade exactly as long ago as India is ahead looks the same;
    its price is then taken for new once, which it is not, but it is still the last one.
    """
    if abs(time - received_at) <= NEAR_S:
        return time
    return time - IST_S if time > IST_S else None
