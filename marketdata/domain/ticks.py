"""What a feed delivers."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class FeedMode(StrEnum):
    """How much of an instrument a feed sends.

    LTP carries the price alone, so a cached price cannot be told from a live one; FULL
    carries the exchange's time and the order book. Armed instruments use FULL.
    """

    LTP = "ltp"
    FULL = "full"


class Tick(NamedTuple):
    """One last-traded-price update, as published by a broker; a tuple, because thousands are made a second.

    Attributes:
        symbol: Canonical ``EXCHANGE:TRADINGSYMBOL``.
        price: Units (see ``domain.prices``). May be zero or negative: the gate refuses those.
        received_at: UNIX seconds when the frame was read from the socket.
        exchange_time: UNIX seconds, one-second resolution. None when the packet has none.
        is_first: First packet of this instrument since the subscription on this
            connection. Brokers answer a subscription with their last known value.
        bid: Best bid in units; None when the packet has no depth, 0 when there is no bid.
        ask: Best ask in units; None when the packet has no depth, 0 when there is no ask.
        is_trade_time: ``exchange_time`` is that of the last trade, not of the packet. An old one
            then tells that nothing traded since, not that the packet is old.

    """

    symbol: str
    price: int
    received_at: float
    exchange_time: int | None = None
    is_first: bool = False
    bid: int | None = None
    ask: int | None = None
    is_trade_time: bool = False
