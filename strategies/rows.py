"""What the journal writes of an exit, as statements: each row is changed from the state it is in, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, TypeVar

from marketdata.domain.prices import to_rupees
from marketdata.statements import Bound, Insert, Update
from strategies.domain.breaches import Intent
from strategies.domain.exits import EXIT_TRANSITIONS, ORDER_TRANSITIONS, ExitState, OrderState
from strategies.domain.record import ExitRecord, OrderRecord
from strategies.models import Exit, ExitOrder, Strategy, StrategyEvent
from strategies.records import ExitTask, at
from strategies.reporting import plain

State = TypeVar("State", ExitState, OrderState)

_CHANGING = (
    "state", "is_queued", "broker_order_id", "filled_quantity", "average_price", "reject_class", "reject_reason",
    "message", "sent_at", "cancels", "cancel_asked_at", "updated_at",
)  # fmt: skip
"""The columns that change in an order's life."""

_TOUCHED = Update(
    Strategy, change=["status", "sl_triggered", "sl_trigger_price"], where=["id", "epoch", "status"]
)
_STEP = Update(Exit, change=["version", "state", "concern", "updated_at"], where=["id", "version"])
_ORDER_STEP = Update(ExitOrder, change=_CHANGING, where=["exit", "tag", "state"])
_NEW_EXIT, _NEW_ORDER, _NEW_EVENT = Insert(Exit), Insert(ExitOrder), Insert(StrategyEvent)


def claimed(intent: Intent) -> Bound[int]:
    """Claim the strategy of a breach, if it is still armed as it was."""
    return _TOUCHED(
        Strategy.Status.EXITING, True, to_rupees(intent.price),
        intent.strategy_id, intent.epoch, Strategy.Status.ACTIVE,
    )  # fmt: skip


def insert_exit(row: Exit) -> Bound[int]:
    """Insert an intent to exit."""
    return _NEW_EXIT(row)


def exit_step(old: ExitRecord, new: ExitRecord, now: datetime) -> Bound[int]:
    """Change an exit that still has the version it was read with.

    Raises:
        ValueError: There is no such step.

    """
    _check(f"exit {old.id}", old.state, new.state, EXIT_TRANSITIONS)
    return _STEP(old.version + 1, new.state, new.concern, now, old.id, old.version)


def insert_order(task: ExitTask, order: OrderRecord) -> Bound[int]:
    """Insert an order of an exit."""
    row = ExitOrder(
        exit_id=task.record.id, account_id=task.account_id, slice_no=order.slice_no, try_no=order.try_no,
        trading_day=order.day, tag=order.tag, side=order.side, product=order.product,
        quantity=order.quantity, price=order.price, opening=order.opening,
        lookalikes=order.lookalikes, planned_at=at(order.planned_at),
        **dict(zip(_CHANGING, _changing(order), strict=True)),
    )  # fmt: skip
    return _NEW_ORDER(row)


def order_step(exit_id: int, before: OrderRecord, order: OrderRecord) -> Bound[int]:
    """Change an order that is still in the state it was in ``before``.

    Raises:
        ValueError: There is no such step.

    """
    _check(f"order {order.tag}", before.state, order.state, ORDER_TRANSITIONS)
    return _ORDER_STEP(*_changing(order), exit_id, order.tag, before.state)


def insert_event(strategy_id: int, now: datetime, kind: str, detail: Mapping[str, Any]) -> Bound[int]:
    """Insert something that happened to a strategy."""
    return _NEW_EVENT(StrategyEvent(strategy_id=strategy_id, at=now, kind=kind, detail=dict(detail)))


def order_detail(order: OrderRecord) -> dict[str, Any]:
    """Return what an event tells of an order."""
    return {
        "tag": order.tag,
        "order_id": order.broker_order_id,
        "side": order.side,
        "product": order.product,
        "quantity": order.quantity,
        "price": plain(order.price),
        "filled": order.filled,
        "average_price": plain(order.average_price),
        "message": order.message,
    }


def _check(what: str, before: State, after: State, allowed: Mapping[State, Collection[State]]) -> None:
    if after is not before and after not in allowed[before]:
        raise ValueError(f"{what}: {before.value} does not become {after.value}")


def _changing(order: OrderRecord) -> tuple[Any, ...]:
    """Return the values of ``_CHANGING``."""
    return (
        order.state,
        order.is_queued,
        order.broker_order_id,
        order.filled,
        order.average_price,
        order.reject_class or "",
        order.reject_reason or "",
        order.message,
        None if order.sent_at is None else at(order.sent_at),
        order.cancels,
        None if order.cancel_asked_at is None else at(order.cancel_asked_at),
        at(order.changed_at),
    )
