"""Kite's orders, positions and quotes in our terms, schema-strict.

A field that is missing or of another type is an answer we do not understand: ``BadReply``
naming it, never a default. The exact values that matter for money are read here only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from marketdata.domain.errors import BadReply
from marketdata.domain.instruments import canonical
from marketdata.domain.orders import OrderSnapshot, OrderStatus, PositionSnapshot, Quote, Side
from marketdata.domain.prices import to_units

_T = TypeVar("_T")
_IST = ZoneInfo("Asia/Kolkata")
_FINEST = Decimal("1e-7")
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
    status = _field(row, "status", str)
    return OrderSnapshot(
        order_id=_text(row, "order_id"),
        tag=_optional_text(row, "tag"),
        symbol=_symbol(row),
        side=_side(row),
        product=_text(row, "product"),
        quantity=_field(row, "quantity", int),
        filled_quantity=_field(row, "filled_quantity", int),
        status=_STATUSES.get(status, OrderStatus.LIVE),
        status_text=status,
        average_price=_price(row, "average_price") or None,
        message=_optional_text(row, "status_message"),
    )


def order_snapshots(rows: Any) -> list[OrderSnapshot]:
    """Read the whole order book; one bad row spoils it, for an order left out looks absent."""
    return [order_snapshot(row) for row in _rows(rows, "orders")]


def position_snapshots(positions: Any, holdings: Any) -> list[PositionSnapshot]:
    """Read net positions, with the shares in the demat account that can still be sold.

    What was sold from the holdings today shows as a negative CNC position *and* as used
    holdings; it counts once, by whichever of the two says more, so the sum is never too large.
    """
    net = {
        (_symbol(row), _text(row, "product")): _field(row, "quantity", int)
        for row in _rows(_field(positions, "net", list), "positions")
    }
    for symbol, product, held, used in _holdings(holdings):
        today = net.get((symbol, product), 0)
        left = held - max(used, -today, 0)
        net[symbol, product] = max(left, 0) + max(today, 0)
    return [PositionSnapshot(symbol, product, quantity) for (symbol, product), quantity in net.items()]


def _holdings(rows: Any) -> Iterable[tuple[str, str, int, int]]:
    # (symbol, product, held, sold today); margin-funded shares are in the same row as the others.
    for row in _rows(rows, "holdings"):
        held = _field(row, "quantity", int) + _field(row, "t1_quantity", int)
        yield _symbol(row), "CNC", held, _field(row, "used_quantity", int)
        if funded := row.get("mtf"):
            yield _symbol(row), "MTF", _field(funded, "quantity", int), _field(funded, "used_quantity", int)


def quote(symbol: str, row: Any) -> Quote:
    """Read one instrument of ``/quote`` or ``/quote/ohlc``; the latter has no time."""
    day = _field(row, "ohlc", dict)
    return Quote(
        symbol=symbol,
        price=to_units(_price(row, "last_price")),
        exchange_time=_exchange_time(row.get("timestamp")),
        day_low=to_units(_price(day, "low")) or None,
        day_high=to_units(_price(day, "high")) or None,
    )


def user_id(profile: Any) -> str:
    """Read the client id of ``/user/profile``."""
    return _text(profile, "user_id")


def mapping(reply: Any, name: str) -> Mapping[str, Any]:
    """Return ``reply`` if it is a JSON object."""
    if not isinstance(reply, dict):
        raise BadReply(f"{name}: expected an object, got {type(reply).__name__}")
    return reply


def _rows(reply: Any, name: str) -> Sequence[Any]:
    if not isinstance(reply, list):
        raise BadReply(f"{name}: expected a list, got {type(reply).__name__}")
    return reply


def _field(row: Any, name: str, kind: type[_T]) -> _T:
    value = mapping(row, f"row with {name}").get(name)
    if type(value) is not kind:  # exactly: a bool is no quantity, and null is nothing at all
        raise BadReply(f"{name}: expected {kind.__name__}, got {value!r}")
    return value


def _text(row: Any, name: str) -> str:
    if not (value := _field(row, name, str)):
        raise BadReply(f"{name} is empty")
    return value


def _optional_text(row: Any, name: str) -> str:
    return "" if row.get(name) is None else _field(row, name, str)


def _symbol(row: Any) -> str:
    return canonical(_text(row, "exchange"), _text(row, "tradingsymbol"))


def _side(row: Any) -> Side:
    value = _text(row, "transaction_type")
    try:
        return Side(value)
    except ValueError:
        raise BadReply(f"transaction_type: expected BUY or SELL, got {value!r}") from None


def _price(row: Any, name: str) -> Decimal:
    # The SDK's JSON reader makes floats. `str` gives back the shortest text of that float, which
    # is the broker's own text for up to 15 digits; the finest price has 7 decimals. An average
    # price may have more: it is rounded there, and nothing is ever traded at it.
    value: Any = mapping(row, f"row with {name}").get(name)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise BadReply(f"{name}: expected a number, got {value!r}")
    return Decimal(str(value)).quantize(_FINEST)


def _exchange_time(value: Any) -> int | None:
    # The SDK parses these to datetimes without a zone; they are India's wall clock.
    if value is None or value == "":
        return None
    if not isinstance(value, datetime):
        raise BadReply(f"timestamp: expected YYYY-MM-DD HH:MM:SS, got {value!r}")
    return int(value.replace(tzinfo=_IST).timestamp())
