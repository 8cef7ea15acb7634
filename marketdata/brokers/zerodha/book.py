"""Kite's orders, positions and quotes in our terms, schema-strict.

The exact values that matter for money are read here only.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from marketdata.brokers.zerodha.refusals import REFUSALS
from marketdata.domain.errors import BadReply
from marketdata.domain.instruments import canonical
from marketdata.domain.orders import OrderSnapshot, OrderStatus, PositionSnapshot, Quote, TradeSnapshot
from marketdata.domain.prices import to_units
from marketdata.portfolio import Held
from marketdata.replies import best, field, optional_text, optional_units, price, rows, side, text

_IST = ZoneInfo("Asia/Kolkata")
_STATUSES = {
    "COMPLETE": OrderStatus.FILLED,
    "CANCELLED": OrderStatus.CANCELLED,
    "REJECTED": OrderStatus.REJECTED,
}
"""Kite's list of statuses is open; all others are stations on the way."""


def order_snapshot(row: Any) -> OrderSnapshot:
    """Read one order of ``GET /orders`` or of the feed's order update.

    Raises:
        BadReply: Not of the documented shape.

    """
    status = field(row, "status", str)
    means, message = _STATUSES.get(status, OrderStatus.LIVE), optional_text(row, "status_message")
    raw = optional_text(row, "status_message_raw")
    return OrderSnapshot(
        order_id=text(row, "order_id"),
        tag=optional_text(row, "tag"),
        symbol=_symbol(row),
        side=side(row, "transaction_type"),
        product=text(row, "product"),
        quantity=field(row, "quantity", int),
        filled_quantity=field(row, "filled_quantity", int),
        status=means,
        status_text=status,
        average_price=price(row, "average_price") or None,
        message=message,
        # What stands in ``message`` is for people, and may be reworded or misleading.
        reject_reason=REFUSALS.of_order(means, f"{raw} {message}"),
    )


def order_snapshots(reply: Any) -> list[OrderSnapshot]:
    """Read the whole order book; one bad row spoils it, for an order left out looks absent."""
    return [order_snapshot(row) for row in rows(reply, "orders")]


def trade_snapshots(reply: Any) -> list[TradeSnapshot]:
    """Read ``GET /trades``; one bad row spoils it. Raises ``BadReply``."""
    return [_trade(row) for row in rows(reply, "trades")]


def _trade(row: Any) -> TradeSnapshot:
    return TradeSnapshot(
        order_id=text(row, "order_id"),
        symbol=_symbol(row),
        side=side(row, "transaction_type"),
        product=text(row, "product"),
        quantity=field(row, "quantity", int),
        price=price(row, "average_price"),
    )


def net_positions(reply: Any) -> list[PositionSnapshot]:
    """Read the net positions of ``GET /portfolio/positions``. Raises ``BadReply``."""
    return [
        PositionSnapshot(_symbol(row), text(row, "product"), field(row, "quantity", int))
        for row in rows(field(reply, "net", list), "positions")
    ]


def holdings(reply: Any) -> list[Held]:
    """Read ``GET /portfolio/holdings``; margin-funded shares are in the same row as the others.

    Raises:
        BadReply: Not of the documented shape.

    """
    return [held for row in rows(reply, "holdings") for held in _holding(row)]


def _holding(row: Any) -> Iterable[Held]:
    settled, settling = field(row, "quantity", int), field(row, "t1_quantity", int)
    symbol, isin = _symbol(row), optional_text(row, "isin")
    yield Held(symbol, "CNC", settled + settling, field(row, "used_quantity", int), isin)
    if funded := row.get("mtf"):
        quantity, used = field(funded, "quantity", int), field(funded, "used_quantity", int)
        yield Held(symbol, "MTF", quantity, used, isin)


def quote(symbol: str, row: Any) -> Quote:
    """Read one instrument of ``/quote`` or ``/quote/ohlc``; the latter has no time, book and limits."""
    day = field(row, "ohlc", dict)
    return Quote(
        symbol=symbol,
        price=to_units(price(row, "last_price")),
        exchange_time=_exchange_time(row.get("timestamp")),
        day_low=to_units(price(day, "low")) or None,
        day_high=to_units(price(day, "high")) or None,
        bid=best(row, "buy"),
        ask=best(row, "sell"),
        lower=optional_units(row, "lower_circuit_limit"),
        upper=optional_units(row, "upper_circuit_limit"),
        close=optional_units(day, "close"),
    )


def user_id(profile: Any) -> str:
    """Read the client id of ``/user/profile``."""
    return text(profile, "user_id")


def _symbol(row: Any) -> str:
    return canonical(text(row, "exchange"), text(row, "tradingsymbol"))


def _exchange_time(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        at = datetime.strptime(value, "%Y-%m-%d %H:%M:%S").replace(tzinfo=_IST)  # India's wall clock
    except (TypeError, ValueError):
        raise BadReply(f"timestamp: expected YYYY-MM-DD HH:MM:SS, got {value!r}") from None
    return int(at.timestamp())
