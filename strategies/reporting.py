"""Strategies and exits in the form that pages and programs are told of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from marketdata.domain.orders import RejectReason
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.sentences import refused_text
from strategies.models import Exit, ExitOrder, Strategy

_PAISA = Decimal("0.01")


def plain(price: Decimal | None) -> str | None:
    """Return a price as text, exact, with at least two decimals and no empty ones after them."""
    if price is None:
        return None
    short = price.normalize()
    return f"{short.quantize(_PAISA)}" if short == short.quantize(_PAISA) else f"{short:f}"


def strategy_body(strategy: Strategy) -> dict[str, Any]:
    """Return what a page shows of a strategy; prices are text."""
    return {
        "id": strategy.pk,
        "name": str(strategy),
        "symbol": strategy.symbol,
        "account": strategy.account_id,
        "status": strategy.status,
        "position": strategy.position,
        "product": strategy.product,
        "quantity": strategy.quantity,
        "entry_price": plain(strategy.entry_price),
        "stop_loss": plain(strategy.stop_loss),
        "tick_size": plain(strategy.instrument.tick_size),
        "sl_triggered": strategy.sl_triggered,
        "sl_trigger_price": plain(strategy.sl_trigger_price),
    }


def exit_body(row: Exit) -> dict[str, Any]:
    """Return what a page shows of an exit, with its orders and one plain sentence."""
    orders = list(row.orders.order_by("id"))
    return {
        "id": row.pk,
        "strategy": row.strategy_id,
        "name": str(row.strategy),
        "symbol": row.strategy.symbol,
        "reason": row.reason,
        "state": row.state,
        "quantity": row.quantity,
        "filled": sum(order.filled_quantity for order in orders),
        "trigger_price": plain(row.trigger_price),
        "sentence": sentence(row, orders),
        "at": row.created_at.timestamp(),
        "orders": [_order_body(order) for order in orders],
    }


def sentence(row: Exit, orders: list[ExitOrder]) -> str:
    """Say how an exit stands, from its state alone: nothing is called sold before it is filled."""
    if row.state == ExitState.ABORTED or row.concern:
        return row.concern or "No order was needed."
    filled = [order for order in orders if order.filled_quantity]
    total = sum(order.filled_quantity for order in filled)
    if row.state == ExitState.DONE:
        return _done(filled, is_whole=total >= row.quantity)
    if filled:
        return f"Partly filled: {total} of {row.quantity} ({', '.join(_fill(order) for order in filled)})."
    return _waiting(orders[-1]) if orders else "Triggered: reading the position."


def _done(filled: list[ExitOrder], *, is_whole: bool) -> str:
    if not filled:
        return "The position was already closed: no order of this exit was filled."
    rest = "" if is_whole else " The rest of the position was already closed."
    return "Filled: " + ", ".join(_fill(order) for order in filled) + "." + rest


def _waiting(order: ExitOrder) -> str:
    """Say how an exit stands of which nothing is filled, by its last order."""
    if order.state == OrderState.REJECTED:
        reason = RejectReason(order.reject_reason) if order.reject_reason else None
        return refused_text(reason, order.message)
    words = {
        OrderState.PLANNED: "Triggered: about to send the order.",
        OrderState.SENDING: "Sending the order.",
        OrderState.UNKNOWN: "Sent, not confirmed by the broker.",
        OrderState.ACKED: "Accepted by the broker, not filled yet.",
        OrderState.LIVE: "At the exchange, not filled yet.",
        OrderState.CANCELLING: "Being cancelled at the exchange, not filled yet.",
        OrderState.CANCELLED: "Cancelled, nothing filled.",
        OrderState.VOID: "The order was not sent yet.",
        OrderState.LOST: "Sent, but the broker does not show it: it is looked for until the day ends.",
        OrderState.FILLED: "Filled at the broker, quantity not known yet.",
    }
    return words[OrderState(order.state)]


def _fill(order: ExitOrder) -> str:
    verb = "sold" if order.side == "SELL" else "bought back"
    return f"{verb} {order.filled_quantity} @ {plain(order.average_price) or 'price not known yet'}"


def _order_body(order: ExitOrder) -> dict[str, Any]:
    return {
        "tag": order.tag,
        "state": order.state,
        "side": order.side,
        "product": order.product,
        "quantity": order.quantity,
        "filled": order.filled_quantity,
        "average_price": plain(order.average_price),
        "order_id": order.broker_order_id,
        "message": order.message,
        "sent_at": order.sent_at.timestamp() if order.sent_at else None,
    }
