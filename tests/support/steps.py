"""Exits, orders and what an account shows, for steps that need no database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

from marketdata.domain.orders import OrderSnapshot, OrderStatus, PositionSnapshot, Side
from strategies.domain.events import Circumstances, Seen
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.record import ExitRecord, Moment, OrderRecord

NOW = 1_000_000.0
TODAY = date(2026, 11, 23)
SYMBOL = "NSE:INFY"
TAG = "TG0"


def at(after_s: float = 0.0) -> Moment:
    return Moment(NOW + after_s, 5_000.0 + after_s, TODAY)


def order(state: OrderState, **fields: Any) -> OrderRecord:
    fields = {
        "tag": TAG, "side": Side.SELL, "product": "MIS", "quantity": 100, "day": TODAY,
        "planned_at": NOW, "changed_at": NOW, "sent_at": NOW, "opening": 100, **fields,
    }  # fmt: skip
    return OrderRecord(state=state, **fields)


def exit_record(*orders: OrderRecord, **fields: Any) -> ExitRecord:
    fields = {
        "id": 1, "state": ExitState.WORKING, "quantity": 100, "symbol": SYMBOL, "product": "MIS",
        "is_long": True, "day": TODAY, **fields,
    }  # fmt: skip
    return ExitRecord(orders=orders, **fields)


def position(quantity: int, product: str = "MIS", symbol: str = SYMBOL) -> PositionSnapshot:
    return PositionSnapshot(symbol, product, quantity)


def booked(
    order_id: str,
    status: OrderStatus = OrderStatus.LIVE,
    *,
    filled: int = 0,
    quantity: int = 100,
    tag: str = "",
    **fields: Any,
) -> OrderSnapshot:
    row = OrderSnapshot(order_id, tag, SYMBOL, Side.SELL, "MIS", quantity, filled, status, status.value)
    return replace(row, **fields)


def seen(
    after_s: float = 0.0,
    *,
    book: Iterable[OrderSnapshot] = (),
    positions: Iterable[PositionSnapshot] = (),
    plan: bool = False,
    **fields: Any,
) -> Seen:
    around = Circumstances(new_tag=TAG) if plan else None
    moment = at(after_s)
    fields = {"around": around, **fields}
    return Seen(moment, moment.elapsed, moment.time, tuple(book), tuple(positions), **fields)
