"""One strategy's history as the timeline page lists it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from strategies.live.state import Row, strategy_event_row
from strategies.live.texts import price_text
from strategies.models import Exit, ExitOrder, Strategy, StrategyEvent
from strategies.reporting import sentence

_EVENTS_SHOWN = 500


def timeline_of(strategy: Strategy) -> dict[str, Any]:
    """Return the events, newest last, and the exits with their orders, newest first."""
    newest = StrategyEvent.objects.filter(strategy=strategy).select_related("strategy__instrument")
    events = reversed(newest.order_by("-pk")[:_EVENTS_SHOWN])
    exits = Exit.objects.filter(strategy=strategy).select_related("strategy").prefetch_related("orders")
    tick_size = strategy.instrument.tick_size
    return {
        "strategy": strategy,
        "events": [{**strategy_event_row(event), "moment": event.at} for event in events],
        "exits": [_exit_row(row, tick_size) for row in exits.order_by("-pk")],
    }


def _exit_row(row: Exit, tick_size: Decimal) -> Row:
    orders = sorted(row.orders.all(), key=lambda order: order.pk)
    return {
        "created_at": row.created_at,
        "trigger": price_text(row.trigger_price, tick_size),
        "text": sentence(row, orders),
        "orders": [_order_row(order, tick_size) for order in orders],
    }


def _order_row(order: ExitOrder, tick_size: Decimal) -> Row:
    return {
        "tag": order.tag,
        "what": f"{order.side} {order.quantity} {order.product}",
        "state": order.state,
        "filled": order.filled_quantity,
        "average": price_text(order.average_price, tick_size),
        "order_id": order.broker_order_id,
        "sent_at": order.sent_at,
        "message": order.message,
    }
