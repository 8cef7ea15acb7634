"""One strategy's history as its page lists it."""

from __future__ import annotations

from typing import Any

from strategies.live.state import Row, strategy_event_row
from strategies.live.story import clock_text, events_by_exit, evidence_of, slippage_of, steps_of
from strategies.live.texts import price_text
from strategies.models import Exit, ExitOrder, Strategy, StrategyEvent
from strategies.reporting import sentence

_EVENTS_SHOWN = 500


def timeline_of(strategy: Strategy) -> dict[str, Any]:
    """Return the events, newest last, and the exits with their orders and story, newest first."""
    events = events_of(strategy)[-_EVENTS_SHOWN:]
    return {
        "strategy": strategy,
        "events": [
            {**strategy_event_row(event), "moment": event.at, "time": clock_text(event.at)}
            for event in events
        ],
        "exits": [_exit_row(*told) for told in reversed(told_exits(strategy, events))],
    }


def events_of(strategy: Strategy) -> list[StrategyEvent]:
    """Return what happened to a strategy, oldest first."""
    rows = StrategyEvent.objects.filter(strategy=strategy).select_related("strategy__instrument")
    return list(rows.order_by("pk"))


def told_exits(
    strategy: Strategy, events: list[StrategyEvent]
) -> list[tuple[Exit, list[ExitOrder], list[StrategyEvent]]]:
    """Return each exit with its orders and its events, oldest first."""
    own = Exit.objects.filter(strategy=strategy).select_related("strategy__instrument", "strategy__account")
    rows = list(own.prefetch_related("orders").order_by("pk"))
    orders = {row.pk: sorted(row.orders.all(), key=lambda order: order.pk) for row in rows}
    sorted_events = events_by_exit(rows, (order for of_exit in orders.values() for order in of_exit), events)
    return [(row, orders[row.pk], sorted_events[row.pk]) for row in rows]


def _exit_row(row: Exit, orders: list[ExitOrder], events: list[StrategyEvent]) -> Row:
    tick_size = row.strategy.instrument.tick_size
    return {
        "id": row.pk,
        "created_at": row.created_at,
        "can_decide": row.state == "needs_human",
        "trigger": price_text(row.trigger_price, tick_size),
        "text": sentence(row, orders),
        "steps": steps_of(row, orders, events),
        "slippage": slippage_of(row, orders),
        "evidence": evidence_of(row),
        "orders": [_order_row(order, row) for order in orders],
    }


def _order_row(order: ExitOrder, row: Exit) -> Row:
    return {
        "tag": order.tag,
        "what": f"{order.side} {order.quantity} {order.product}",
        "state": order.state,
        "filled": order.filled_quantity,
        "average": price_text(order.average_price, row.strategy.instrument.tick_size),
        "order_id": order.broker_order_id,
        "sent_at": None if order.sent_at is None else clock_text(order.sent_at),
        "message": order.message,
    }
