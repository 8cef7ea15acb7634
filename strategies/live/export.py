"""Everything that is stored of one strategy, as JSON: for a broker's desk, a lawyer, or a program."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.db.models import Model

from strategies.live.story import Step, slippage_of, steps_of
from strategies.live.timeline import events_of, told_exits
from strategies.models import Alert, Exit, ExitOrder, Strategy, StrategyEvent
from strategies.reporting import sentence
from strategies.switches import mode_of

_OF_ACCOUNT = ("id", "broker", "name", "client_id", "live", "paper")
"""An account's columns that may leave the house; its credentials never do."""


def export_text(strategy: Strategy, now: datetime) -> str:
    """Return the document. Prices and amounts are exact, as text; times are ISO 8601 with their zone."""
    events = events_of(strategy)
    account = strategy.account
    document = {
        "exported_at": now,
        "strategy": _columns(strategy),
        "instrument": _columns(strategy.instrument),
        "account": {**_columns(account, _OF_ACCOUNT), "mode": mode_of(account, strategy)},
        "exits": [_exit(*told) for told in told_exits(strategy, events)],
        "events": [_columns(event) for event in events],
        "alerts": [_alert(row) for row in Alert.objects.filter(strategy=strategy).order_by("pk")],
    }
    return json.dumps(document, indent=2, default=_text, ensure_ascii=False)


def _exit(row: Exit, orders: list[ExitOrder], events: list[StrategyEvent]) -> dict[str, Any]:
    slippage = slippage_of(row, orders)
    return {
        **_columns(row),
        "sentence": sentence(row, orders),
        "story": [_step(step) for step in steps_of(row, orders, events)],
        "slippage": None if slippage is None else {**_fields(slippage), "text": slippage.text},
        "orders": [_columns(order) for order in orders],
    }


def _step(step: Step) -> dict[str, Any]:
    return {"at": step.at, "after_s": step.after_s, "title": step.title, "text": step.text}


def _alert(row: Alert) -> dict[str, Any]:
    return {**_columns(row), "deliveries": [_columns(each) for each in row.deliveries.order_by("pk")]}


def _columns(row: Model, names: Collection[str] | None = None) -> dict[str, Any]:
    columns = [field.attname for field in row._meta.concrete_fields]
    return {name: getattr(row, name) for name in columns if names is None or name in names}


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, date):  # and every datetime
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not for export")
