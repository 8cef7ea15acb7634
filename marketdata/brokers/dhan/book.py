"""Dhan's orders, positions and quotes in our terms, schema-strict.

Contracts come as segment and security id. Where a record wants a symbol it has the token text
here: the gateway knows the names. The exact values that matter for money are read here only.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from marketdata.brokers.dhan.refusals import REFUSALS
from marketdata.brokers.dhan.segments import token_of
from marketdata.domain.errors import BadReply
from marketdata.domain.orders import OrderSnapshot, OrderStatus, PositionSnapshot, Quote, TradeSnapshot
from marketdata.domain.prices import to_units
from marketdata.portfolio import Held
from marketdata.replies import best, field, mapping, optional_text, optional_units, price, rows, side, text

PRODUCTS = {"MIS": "INTRADAY", "CNC": "CNC", "NRML": "MARGIN", "MTF": "MTF"}
"""Our product -> Dhan's."""

_OUR_PRODUCTS = {theirs: ours for ours, theirs in PRODUCTS.items()}
_STATUSES = {
    "TRADED": OrderStatus.FILLED,
    "CANCELLED": OrderStatus.CANCELLED,
    "EXPIRED": OrderStatus.CANCELLED,
    "REJECTED": OrderStatus.REJECTED,
}
"""All others are stations on the way."""

_HELD_IN = {"ALL": "NSE_EQ", "NSE": "NSE_EQ", "BSE": "BSE_EQ"}
"""What a holding says of its exchange -> segment of its security id. "ALL", in both lists: the id of NSE."""

_IST = timezone(timedelta(hours=5, minutes=30))
_NEVER = 1980  # the year in which an instrument without a trade was last traded


def order_status(word: str) -> OrderStatus:
    """Return what a status word means."""
    return _STATUSES.get(word.upper(), OrderStatus.LIVE)


def our_product(word: str) -> str:
    """Return our product; cover and bracket orders, which we do not place, keep Dhan's word."""
    return _OUR_PRODUCTS.get(word, word)


def order_snapshots(reply: Any) -> list[OrderSnapshot]:
    """Read the whole order book; one bad row spoils it, for an order left out looks absent.

    Raises:
        BadReply: Not of the documented shape.

    """
    return [order_snapshot(row) for row in rows(reply, "orders")]


def order_snapshot(row: Any) -> OrderSnapshot:
    """Read one order. Raises ``BadReply``."""
    status, message = text(row, "orderStatus"), optional_text(row, "omsErrorDescription")
    return OrderSnapshot(
        order_id=text(row, "orderId"),
        tag=optional_text(row, "correlationId"),
        symbol=_token(row),
        side=side(row, "transactionType"),
        product=our_product(text(row, "productType")),
        quantity=field(row, "quantity", int),
        filled_quantity=field(row, "filledQty", int),
        status=order_status(status),
        status_text=status,
        average_price=price(row, "averageTradedPrice") or None,
        message=message,
        reject_reason=REFUSALS.of_order(order_status(status), message),
    )


def trade_snapshots(reply: Any) -> list[TradeSnapshot]:
    """Read ``/trades``; one bad row spoils it. Raises ``BadReply``."""
    return [_trade(row) for row in rows(reply, "trades")]


def _trade(row: Any) -> TradeSnapshot:
    return TradeSnapshot(
        order_id=text(row, "orderId"),
        symbol=_token(row),
        side=side(row, "transactionType"),
        product=our_product(text(row, "productType")),
        quantity=field(row, "tradedQuantity", int),
        price=price(row, "tradedPrice"),
    )


def net_positions(reply: Any) -> list[PositionSnapshot]:
    """Read ``/positions``. Raises ``BadReply``."""
    return [
        PositionSnapshot(_token(row), our_product(text(row, "productType")), field(row, "netQty", int))
        for row in rows(reply, "positions")
    ]


def holdings(reply: Any) -> list[Held]:
    """Read ``/holdings``. Raises ``BadReply``."""
    return [_holding(row) for row in rows(reply, "holdings")]


def _holding(row: Any) -> Held:
    segment = _HELD_IN.get(text(row, "exchange"))
    token = token_of(segment, text(row, "securityId")) if segment else ""
    unpledged = field(row, "totalQty", int) - field(row, "collateralQty", int)
    used = max(unpledged - field(row, "availableQty", int), 0)
    return Held(token, "CNC", unpledged, used, optional_text(row, "isin"))


def quotes(reply: Any, symbols: Mapping[str, str]) -> dict[str, Quote]:
    """Read ``/marketfeed/quote``.

    Args:
        reply: The answer.
        symbols: What was asked for, by token text.

    Raises:
        BadReply: Not of the documented shape.

    """
    found: dict[str, Quote] = {}
    for segment, of_segment in field(mapping(reply, "quotes"), "data", dict).items():
        for security_id, row in mapping(of_segment, f"quotes of {segment}").items():
            symbol = symbols.get(token_of(segment, security_id))
            if symbol is not None and row:
                found[symbol] = _quote(symbol, row)
    return found


def _quote(symbol: str, row: Any) -> Quote:
    day = field(row, "ohlc", dict)
    return Quote(
        symbol=symbol,
        price=to_units(price(row, "last_price")),
        exchange_time=_exchange_time(row.get("last_trade_time")),
        day_low=to_units(price(day, "low")) or None,
        day_high=to_units(price(day, "high")) or None,
        bid=best(row, "buy"),
        ask=best(row, "sell"),
        lower=optional_units(row, "lower_circuit_limit"),
        upper=optional_units(row, "upper_circuit_limit"),
    )


def client_id(profile: Any) -> str:
    """Read the client id of ``/profile``."""
    return text(profile, "dhanClientId")


def _token(row: Any) -> str:
    return token_of(text(row, "exchangeSegment"), text(row, "securityId"))


def _exchange_time(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        at = datetime.strptime(value, "%d/%m/%Y %H:%M:%S").replace(tzinfo=_IST)
    except (TypeError, ValueError):
        raise BadReply(f"last_trade_time: expected DD/MM/YYYY HH:MM:SS, got {value!r}") from None
    return None if at.year <= _NEVER else int(at.astimezone(UTC).timestamp())
