"""Reading the durable record: what is armed, what is open, what is on its way.

All of it blocks: call it from the exit engine's own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from marketdata.accounts import broker_config
from marketdata.domain.instruments import canonical
from marketdata.domain.orders import OrderRequest, RejectClass, Side
from marketdata.domain.prices import to_units
from marketdata.models import BrokerAccount
from marketdata.ports import BrokerConfig
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.planning import Need, OwnOrder
from strategies.domain.rules import FixedStop
from strategies.domain.steps import ExitRecord, OrderRecord
from strategies.domain.stops import Stop
from strategies.models import Exit, ExitOrder, Strategy
from strategies.switches import Refusal

MayTrade = Callable[[Strategy], Refusal | None]
"""Why no order may be sent for a strategy; None when one may."""

IST = ZoneInfo("Asia/Kolkata")
FINAL_EXITS = [state for state in ExitState if state.is_final]
FINAL_ORDERS = [state for state in OrderState if state.is_final]


@dataclass(frozen=True, slots=True)
class ExitTask:
    """What the engine needs of one open exit."""

    record: ExitRecord
    user_id: int
    account_id: int
    need: Need
    refusal: Refusal | None  # why no order may be sent for it
    triggered_at: float  # UNIX seconds


@dataclass(frozen=True, slots=True)
class Unarmed:
    """An active strategy with a position whose stop cannot be watched, and why."""

    strategy_id: int
    user_id: int
    account_id: int
    reason: str


def at(seconds: float) -> datetime:
    """Return UNIX seconds as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def trading_day(seconds: float) -> date:
    """Return the day, in India, of UNIX ``seconds``."""
    return at(seconds).astimezone(IST).date()


def armed_stops() -> tuple[list[Stop], list[Unarmed]]:
    """Return every stop that has to be watched, and the rows that say so but cannot be."""
    stops: list[Stop] = []
    unarmed: list[Unarmed] = []
    for row in _armed_rows():
        try:
            stops.append(_stop(row))
        except (ArithmeticError, TypeError, ValueError) as exc:  # one row's trouble is not the others'
            unarmed.append(Unarmed(row["id"], row["user_id"], row["account_id"], str(exc)))
    return stops, unarmed


def open_exits() -> list[int]:
    """Return the ids of exits that are not finished, oldest first."""
    return list(Exit.objects.exclude(state__in=FINAL_EXITS).order_by("id").values_list("id", flat=True))


def load(exit_id: int, may_trade: MayTrade) -> ExitTask:
    """Return one exit as it stands."""
    row = Exit.objects.select_related("strategy__account", "strategy__instrument").get(pk=exit_id)
    strategy = row.strategy
    record = ExitRecord(
        row.pk,
        ExitState(row.state),
        row.quantity,
        tuple(_order_record(order) for order in row.orders.order_by("id")),
    )
    need = Need(
        strategy.symbol,
        strategy.product,
        strategy.position == "BOUGHT",
        max(record.residual, 0),
        is_listed=bool(strategy.instrument.token),
    )
    refusal = may_trade(strategy)
    triggered_at = row.created_at.timestamp()
    return ExitTask(record, strategy.user_id, strategy.account_id, need, refusal, triggered_at)


def request(order_id: int) -> OrderRequest:
    """Return a planned order as it is to be sent."""
    row = ExitOrder.objects.select_related("exit__strategy__instrument").get(pk=order_id)
    return OrderRequest(
        row.tag, row.exit.strategy.symbol, Side(row.side), row.quantity, row.product, row.price
    )


def config(account_id: int) -> BrokerConfig:
    """Return an account's present credentials."""
    return broker_config(BrokerAccount.objects.get(pk=account_id))


def own_orders(account_id: int, read_at: float) -> list[OwnOrder]:
    """Return our orders that a position read begun at ``read_at`` (UNIX s) may not include."""
    still_open = ExitOrder.objects.filter(account=account_id).exclude(state__in=FINAL_ORDERS)
    just_ended = ExitOrder.objects.filter(
        account=account_id, state__in=FINAL_ORDERS, filled_quantity__gt=0, updated_at__gte=at(read_at)
    )
    orders = [_own(row, _may_still_fill(row, read_at)) for row in _with_symbol(still_open)]
    return orders + [_own(row, row.filled_quantity) for row in _with_symbol(just_ended)]


def _with_symbol(orders: QuerySet[ExitOrder]) -> Iterable[ExitOrder]:
    return orders.select_related("exit__strategy__instrument")


def _may_still_fill(row: ExitOrder, read_at: float) -> int:
    """A fill we learnt of after the position was read is not in that position: count it as to come."""
    return row.quantity if row.updated_at >= at(read_at) else row.quantity - row.filled_quantity


def _own(row: ExitOrder, unfilled: int) -> OwnOrder:
    return OwnOrder(row.tag, row.exit.strategy.symbol, row.product, Side(row.side), unfilled)


def _order_record(row: ExitOrder) -> OrderRecord:
    return OrderRecord(
        id=row.pk,
        tag=row.tag,
        state=OrderState(row.state),
        quantity=row.quantity,
        filled=row.filled_quantity,
        planned_at=row.planned_at.timestamp(),
        changed_at=row.updated_at.timestamp(),
        sent_at=row.sent_at.timestamp() if row.sent_at else None,
        broker_order_id=row.broker_order_id,
        reject_class=RejectClass(row.reject_class) if row.reject_class else None,
        message=row.message,
    )


def _armed_rows() -> list[dict[str, Any]]:
    """Read all at once; where one price cannot be read, without the prices: each is then read alone."""
    names = ("id", "epoch", "user_id", "account_id", "position", "quantity")
    instrument = ("instrument__exchange", "instrument__tradingsymbol")
    active = Strategy.objects.filter(status=Strategy.Status.ACTIVE).exclude(position=Strategy.Position.NONE)
    try:
        return list(active.values(*names, *instrument, "stop_loss"))
    except (ArithmeticError, TypeError, ValueError):
        return list(active.values(*names, *instrument))


def _stop(row: Mapping[str, Any]) -> Stop:
    position, quantity = row["position"], row["quantity"]
    if position not in ("BOUGHT", "SOLD"):
        raise ValueError(f"its position is {position!r}, neither BOUGHT nor SOLD")
    if not isinstance(quantity, int) or quantity <= 0:
        raise ValueError(f"its quantity is {quantity!r}")
    stop = row["stop_loss"] if "stop_loss" in row else _stop_loss(row["id"])
    if stop is None:
        raise ValueError("it has no stop-loss")
    rule = FixedStop(to_units(stop), position == "BOUGHT")
    symbol = canonical(row["instrument__exchange"], row["instrument__tradingsymbol"])
    return Stop(row["id"], row["epoch"], row["user_id"], symbol, rule, quantity)


def _stop_loss(strategy_id: int) -> Decimal | None:
    try:
        return Strategy.objects.values_list("stop_loss", flat=True).get(pk=strategy_id)
    except (ArithmeticError, TypeError, ValueError) as exc:
        raise ValueError(f"its stop-loss cannot be read ({exc})") from exc
