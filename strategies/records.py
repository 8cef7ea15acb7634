"""Reading the durable record: what is armed, what is open, what is on its way.

All of it blocks: call it from the exit engine's own thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from marketdata.accounts import broker_config
from marketdata.domain.instruments import canonical
from marketdata.domain.orders import RejectClass, RejectReason, Side
from marketdata.models import BrokerAccount
from marketdata.ports import BrokerConfig
from strategies.domain.events import Circumstances
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.planning import OwnOrder
from strategies.domain.record import ExitRecord, OrderRecord, Terms
from strategies.models import Exit, ExitOrder, Strategy
from strategies.switches import Refusal

logger = logging.getLogger(__name__)

MayTrade = Callable[[Strategy], Refusal | None]
"""Why no order may be sent for a strategy; None when one may."""

IST = ZoneInfo("Asia/Kolkata")
SOON_S = 60.0
"""What was written longer after a read than this was written before it: the clock was set back since."""

FINAL_EXITS = [state for state in ExitState if state.is_final]
_SYMBOL = tuple(f"exit__strategy__instrument__{name}" for name in ("exchange", "tradingsymbol"))
FINAL_ORDERS = [state for state in OrderState if state.is_final]


@dataclass(frozen=True, slots=True)
class ExitTask:
    """One exit as it stands, and whose it is."""

    record: ExitRecord
    user_id: int
    account_id: int


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What is needed to talk to an account. ``sent_today``: order requests already counted."""

    config: BrokerConfig
    sent_today: int


@dataclass(frozen=True, slots=True)
class WatchedExit:
    """An exit with orders of today. ``changed_at``: UNIX seconds."""

    id: int
    user_id: int
    account_id: int
    symbol: str
    is_final: bool
    changed_at: float
    orders: list[OrderRecord]


def at(seconds: float) -> datetime:
    """Return UNIX seconds as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def trading_day(seconds: float) -> date:
    """Return the day, in India, of UNIX ``seconds``."""
    return at(seconds).astimezone(IST).date()


class OpenExit(NamedTuple):
    id: int
    version: int
    user_id: int


def open_exits(users: Collection[int] | None = None) -> list[OpenExit]:
    """Return every exit that is not finished, oldest first: of these users, or (None) of all."""
    rows = Exit.objects.exclude(state__in=FINAL_EXITS).filter(**_of_users("strategy__user", users))
    return [OpenExit(*row) for row in rows.order_by("id").values_list("id", "version", "strategy__user")]


def _of_users(field: str, users: Collection[int] | None) -> dict[str, Collection[int]]:
    return {} if users is None else {f"{field}__in": users}


def load(exit_id: int) -> ExitTask:
    """Return one exit as it stands."""
    row = Exit.objects.select_related("strategy__account", "strategy__instrument").get(pk=exit_id)
    strategy = row.strategy
    orders = tuple(order_record(order) for order in row.orders.order_by("id"))
    record = ExitRecord(
        id=row.pk,
        state=ExitState(row.state),
        quantity=row.quantity,
        symbol=strategy.symbol,
        product=strategy.product,
        # Once it is out of its position a strategy no longer tells which side that was.
        is_long=orders[0].side is Side.SELL if orders else strategy.position != Strategy.Position.SOLD,
        day=trading_day(row.created_at.timestamp()),
        version=row.version,
        loss_rate=int(row.quantity * (row.trigger_price or strategy.entry_price or 0)) // 100,
        terms=_terms(strategy),
        resumed_at=_seconds(row.resumed_at),
        resumed_after=row.resumed_after,
        concern=row.concern,
        orders=orders,
    )
    return ExitTask(record, strategy.user_id, strategy.account_id)


def _terms(strategy: Strategy) -> Terms:
    instrument = strategy.instrument
    return Terms(
        tick_size=instrument.tick_size or Decimal("0.05"),
        lot_size=instrument.lot_size or 1,
        freeze_quantity=instrument.freeze_quantity,
        is_listed=bool(instrument.token),
        may_resend=not strategy.account.never_resend,
    )


def account_facts(account_id: int, today: date) -> AccountFacts:
    """Return an account's present credentials and how many order requests it sent today."""
    config = broker_config(BrokerAccount.objects.get(pk=account_id))
    sent = ExitOrder.objects.filter(account=account_id, trading_day=today, sent_at__isnull=False)
    return AccountFacts(config, sent.count())


def circumstances(
    task: ExitTask, read_at: float, today: date, may_trade: MayTrade, new_tag: str
) -> Circumstances:
    """Return what else bears on a new order of an exit, beside a read begun at ``read_at`` (UNIX s)."""
    strategy = Strategy.objects.select_related("account", "instrument").get(exits=task.record.id)
    refusal = may_trade(strategy)
    known = list(
        ExitOrder.objects.filter(account=task.account_id, trading_day=today)
        .order_by("id")
        .values_list("tag", "broker_order_id", "opening", "side", "product", *_SYMBOL)
    )
    return Circumstances(
        own=own_orders(task.account_id, read_at, today),
        tags={tag for tag, *_ in known},
        order_ids={order_id for _, order_id, *_ in known} - {""},
        openings=_openings(known),
        refusal=refusal.text if refusal else "",
        is_refusal_final=refusal.is_final if refusal else False,
        new_tag=new_tag,
    )


def _openings(orders: Iterable[Sequence[Any]]) -> dict[tuple[str, str], int]:
    """Return what most shows of each position: reads that a fill came between show less than there was."""
    found: dict[tuple[str, str], int] = {}
    for _, _, opening, side, product, *symbol in orders:
        if opening is not None:
            key, most = (canonical(*symbol), product), max if side == Side.SELL else min
            found[key] = most(opening, found.get(key, opening))
    return found


def orders_of_day(account_id: int, today: date) -> list[OrderRecord]:
    """Return every order of ours of today, as the journal has it."""
    rows = map(_readable, ExitOrder.objects.filter(account=account_id, trading_day=today))
    return [order for order in rows if order is not None]


def watched_exits(today: date, users: Collection[int] | None = None) -> list[WatchedExit]:
    """Return the exits that have orders of today: of these users, or (None) of all."""
    orders = ExitOrder.objects.filter(trading_day=today, **_of_users("exit__strategy__user", users))
    found: dict[int, WatchedExit] = {}
    for row in _with_symbol(orders).order_by("id"):
        strategy = row.exit.strategy
        order = _readable(row)
        if order is None:
            continue
        known = found.setdefault(
            row.exit_id,
            WatchedExit(
                row.exit_id,
                strategy.user_id,
                row.account_id,
                strategy.symbol,
                ExitState(row.exit.state).is_final,
                row.exit.updated_at.timestamp(),
                [],
            ),
        )
        known.orders.append(order)
    return list(found.values())


def _readable(row: ExitOrder) -> OrderRecord | None:
    """Return an order, or none where its row says what nobody here knows: that is its exit's trouble alone."""
    try:
        return order_record(row)
    except ValueError:
        logger.exception("order %s cannot be read", row.tag)
        return None


def own_orders(account_id: int, read_at: float, today: date) -> list[OwnOrder]:
    """Return our orders of today that a position read begun at ``read_at`` (UNIX s) may not include.

    An order lives for a day: what an earlier one left open holds nothing any more.
    """
    of_day = ExitOrder.objects.filter(account=account_id, trading_day=today)
    still_open = of_day.exclude(state__in=FINAL_ORDERS)
    just_ended = of_day.filter(
        state__in=FINAL_ORDERS, filled_quantity__gt=0, updated_at__range=(at(read_at), at(read_at + SOON_S))
    )
    orders = [_own(row, _may_still_fill(row, read_at)) for row in _with_symbol(still_open)]
    return orders + [_own(row, row.filled_quantity) for row in _with_symbol(just_ended)]


def _with_symbol(orders: QuerySet[ExitOrder]) -> QuerySet[ExitOrder]:
    return orders.select_related("exit__strategy__instrument")


def _may_still_fill(row: ExitOrder, read_at: float) -> int:
    """A fill we learnt of after the position was read is not in that position: count it as to come."""
    is_later = at(read_at) <= row.updated_at <= at(read_at + SOON_S)
    return row.quantity if is_later else max(row.quantity - row.filled_quantity, 0)


def _own(row: ExitOrder, unfilled: int) -> OwnOrder:
    symbol = row.exit.strategy.symbol
    return OwnOrder(row.tag, symbol, row.product, Side(row.side), unfilled, row.broker_order_id)


def order_record(row: ExitOrder) -> OrderRecord:
    """Return one order as the journal has it."""
    return OrderRecord(
        tag=row.tag,
        state=OrderState(row.state),
        side=Side(row.side),
        product=row.product,
        quantity=row.quantity,
        day=row.trading_day,
        planned_at=row.planned_at.timestamp(),
        slice_no=row.slice_no,
        try_no=row.try_no,
        price=row.price,
        is_queued=row.is_queued,
        opening=row.opening,
        lookalikes=row.lookalikes,
        filled=row.filled_quantity,
        average_price=row.average_price,
        changed_at=row.updated_at.timestamp(),
        sent_at=_seconds(row.sent_at),
        cancels=row.cancels,
        cancel_asked_at=_seconds(row.cancel_asked_at),
        broker_order_id=row.broker_order_id,
        reject_class=RejectClass(row.reject_class) if row.reject_class else None,
        reject_reason=RejectReason(row.reject_reason) if row.reject_reason else None,
        message=row.message,
    )


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
