"""Reading the durable record: what is armed, what is open, what is on its way.

All of it blocks: call it from the exit engine's own thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Count, Q, QuerySet, TextField
from django.db.models.functions import Cast

from marketdata.accounts import broker_config
from marketdata.domain.instruments import canonical
from marketdata.domain.orders import RejectClass, RejectReason, Side
from marketdata.models import BrokerAccount
from marketdata.ports import BrokerConfig
from marketdata.statements import Bound, Objects, Select, run, together
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
_OF_STRATEGY = (
    "id", "user", "account", "instrument", "epoch", "position", "product", "quantity", "entry_price",
    "instrument__id", "instrument__exchange", "instrument__tradingsymbol", "instrument__token",
    "instrument__tick_size", "instrument__lot_size", "instrument__freeze_quantity",
    "account__id", "account__never_resend",
)  # fmt: skip
_SWITCHES = ("id", "account", "live", "account__id", "account__paper", "account__broker", "account__live")
_OF_ORDER = (
    "tag", "broker_order_id", "opening", "side", "product", "state", "quantity", "filled_quantity", "updated_at",
    *_SYMBOL,
)  # fmt: skip
_OF_RECORD = (
    "tag", "state", "side", "product", "quantity", "trading_day", "planned_at", "slice_no", "try_no", "price",
    "is_queued", "opening", "lookalikes", "filled_quantity", "average_price", "updated_at", "sent_at", "cancels",
    "cancel_asked_at", "broker_order_id", "reject_class", "reject_reason", "message",
)  # fmt: skip
_OF_EXIT = ("exit", "exit__state", "exit__updated_at", "exit__strategy__user", *_SYMBOL)
FINAL_ORDERS = [state for state in OrderState if state.is_final]


def _as_stored(pk: int) -> QuerySet[BrokerAccount, tuple[Any, ...]]:
    plain = ("broker", "client_id")
    secret = [Cast(name, TextField()) for name in ("api_key", "api_secret", "access_token")]  # as ciphertext
    return BrokerAccount.objects.filter(pk=pk).values_list(*plain, *secret)


def _orders_of_day(account: int, day: date) -> QuerySet[ExitOrder, tuple[Any, ...]]:
    return ExitOrder.objects.filter(account=account, trading_day=day).order_by("id").values_list(*_OF_ORDER)


# What lies on the way from a breach to its order; see ``marketdata.statements``.
_STORED = Select(_as_stored, pk=-1)
_STRATEGY = Objects(Strategy, _OF_STRATEGY)
_BEGUN = Select(lambda pk: Strategy.objects.filter(pk=pk).values_list(*_OF_STRATEGY), pk=-1)
_SWITCHED = Objects(Strategy, _SWITCHES)
_ALLOWED = Select(lambda pk: Strategy.objects.filter(pk=pk).values_list(*_SWITCHES), pk=-1)
_OF_DAY = Select(_orders_of_day, account=-1, day=date.min)
# Its key stays: who only refers to the account does not wait.
_HELD = Select(
    lambda pk: BrokerAccount.objects.select_for_update(no_key=True).filter(pk=pk).values_list("pk"), pk=-1
)
_MAY_MATTER = Select(
    lambda account, day, since: _orders_of_day(account, day).filter(
        ~Q(state__in=FINAL_ORDERS) | Q(filled_quantity__gt=0, updated_at__gte=since)
    ),
    account=-1,
    day=date.min,
    since=datetime.fromtimestamp(0, UTC),
)


@dataclass(frozen=True, slots=True)
class ExitTask:
    """One exit as it stands, and whose it is."""

    record: ExitRecord
    user_id: int
    account_id: int
    strategy_id: int


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What is needed to talk to an account, as of a day.

    Attributes:
        config: Its credentials.
        sent_today: Order requests already counted when that day was first looked at.
        day: Which day, in India.
        stored: The credentials as the row has them, to see whether they are still the same.

    """

    config: BrokerConfig
    sent_today: int
    day: date
    stored: tuple[Any, ...] = field(repr=False)


class WatchedAccount(NamedTuple):
    """An account that has orders of today; ``is_hot``: one has just ended, is open or is lost."""

    id: int
    is_hot: bool


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


class ArmedAccount(NamedTuple):
    """An account with stops that are to be watched, and an exchange they are on."""

    id: int
    user_id: int
    exchange: str


def armed_accounts(users: Collection[int] | None = None) -> list[ArmedAccount]:
    """Return each account that has an armed stop, once for every exchange: of these users, or (None) of all."""
    names = armed(users).values_list("account", "user", "instrument__exchange")
    return [ArmedAccount(*row) for row in names.distinct()]


def armed(users: Collection[int] | None = None) -> QuerySet[Strategy]:
    """Return the strategies whose stops are to be watched: of these users, or (None) of all."""
    active = Strategy.objects.filter(status=Strategy.Status.ACTIVE, **_of_users("user", users))
    return active.exclude(position=Strategy.Position.NONE)


def _of_users(field: str, users: Collection[int] | None) -> dict[str, Collection[int]]:
    return {} if users is None else {f"{field}__in": users}


def load(exit_id: int) -> ExitTask:
    """Return one exit as it stands."""
    row = Exit.objects.get(pk=exit_id)
    orders = tuple(order_record(order) for order in row.orders.order_by("id"))
    [strategy] = run(begun(row.strategy_id))
    return exit_task(row, strategy, orders)


def begun(strategy_id: int) -> Bound[list[Strategy]]:
    """Read a strategy with what its exit needs of it; the rest of it is read when it is looked at."""
    return _BEGUN(pk=strategy_id).then(_STRATEGY)


def exit_task(row: Exit, strategy: Strategy, orders: tuple[OrderRecord, ...] = ()) -> ExitTask:
    """Return an exit of a strategy as its rows say."""
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
    return ExitTask(record, strategy.user_id, strategy.account_id, strategy.pk)


def _terms(strategy: Strategy) -> Terms:
    instrument = strategy.instrument
    return Terms(
        tick_size=instrument.tick_size or Decimal("0.05"),
        lot_size=instrument.lot_size or 1,
        freeze_quantity=instrument.freeze_quantity,
        is_listed=bool(instrument.token),
        may_resend=not strategy.account.never_resend,
    )


def account_facts(account_id: int, today: date, known: AccountFacts | None = None) -> AccountFacts:
    """Return an account's present credentials and how many order requests it sent today.

    Args:
        account_id: Which.
        today: The day in India.
        known: The same, read earlier: it is returned when it still holds.

    """
    [stored] = run(_STORED(pk=account_id))
    if known is not None and (known.stored, known.day) == (stored, today):
        return known
    config = broker_config(BrokerAccount.objects.get(pk=account_id))
    sent = ExitOrder.objects.filter(account=account_id, trading_day=today, sent_at__isnull=False)
    return AccountFacts(config, sent.count(), today, stored)


def circumstances(
    task: ExitTask, read_at: float, today: date, may_trade: MayTrade, new_tag: str
) -> Circumstances:
    """Return what else bears on a new order of an exit, beside a read begun at ``read_at`` (UNIX s)."""
    [switches], rows = together(switches_of(task.strategy_id), _OF_DAY(account=task.account_id, day=today))
    refusal, known = may_trade(switches), [_Order(*row) for row in rows]
    return Circumstances(
        own=_not_in_read(known, read_at),
        tags={order.tag for order in known},
        order_ids={order.order_id for order in known} - {""},
        openings=_openings(known),
        refusal=refusal.text if refusal else "",
        is_refusal_final=refusal.is_final if refusal else False,
        new_tag=new_tag,
    )


def switches_of(strategy_id: int) -> Bound[list[Strategy]]:
    """Read a strategy with what says whether an order may be sent for it; the rest is read when looked at."""
    return _ALLOWED(pk=strategy_id).then(_SWITCHED)


class _Order(NamedTuple):
    """One of our orders, with what bears on others."""

    tag: str
    order_id: str
    opening: int | None
    side: str
    product: str
    state: str
    quantity: int
    filled: int
    updated_at: datetime
    exchange: str
    tradingsymbol: str

    @property
    def symbol(self) -> str:
        return canonical(self.exchange, self.tradingsymbol)


def _openings(orders: Iterable[_Order]) -> dict[tuple[str, str], int]:
    """Return what most shows of each position: reads that a fill came between show less than there was."""
    found: dict[tuple[str, str], int] = {}
    for order in orders:
        if order.opening is not None:
            key, most = (order.symbol, order.product), max if order.side == Side.SELL else min
            found[key] = most(order.opening, found.get(key, order.opening))
    return found


def orders_of_day(account_id: int, today: date) -> list[OrderRecord]:
    """Return every order of ours of today, as the journal has it."""
    rows = map(_readable, ExitOrder.objects.filter(account=account_id, trading_day=today))
    return [order for order in rows if order is not None]


def watched_accounts(
    today: date, users: Collection[int] | None, now: float, fresh_s: float
) -> list[WatchedAccount]:
    """Return the accounts that have orders of today: of these users, or (None) of all.

    Args:
        today: The day in India.
        users: Whose.
        now: UNIX seconds.
        fresh_s: For how long after its end an exit makes its account a hot one.

    """
    orders = ExitOrder.objects.filter(trading_day=today, **_of_users("exit__strategy__user", users))
    has_just_ended = Q(exit__state__in=FINAL_EXITS, exit__updated_at__range=(at(now - fresh_s), at(now)))
    is_open = ~Q(state__in=[*FINAL_ORDERS, OrderState.PLANNED])
    hot = Count("pk", filter=has_just_ended | is_open | Q(state=OrderState.LOST))
    found = orders.order_by("account").values_list("account").annotate(hot=hot)
    return [WatchedAccount(account_id, is_hot=count > 0) for account_id, count in found]


def watched_exits(today: date, users: Collection[int] | None, account_id: int) -> list[WatchedExit]:
    """Return the exits of an account that have orders of today: of these users, or (None) of all."""
    orders = ExitOrder.objects.filter(
        trading_day=today, account=account_id, **_of_users("exit__strategy__user", users)
    )
    found: dict[int, WatchedExit] = {}
    # By the thousand at the end of a bad day: objects of models would hold up every tick.
    for row in orders.order_by("id").values_list(*_OF_RECORD, *_OF_EXIT, named=True):
        order = _readable(row)
        if order is not None:
            known = found.setdefault(row.exit, _watched_exit(row, account_id))
            known.orders.append(order)
    return list(found.values())


def _watched_exit(row: Any, account_id: int) -> WatchedExit:
    exchange, tradingsymbol = (getattr(row, name) for name in _SYMBOL)
    return WatchedExit(
        row.exit,
        row.exit__strategy__user,
        account_id,
        canonical(exchange, tradingsymbol),
        ExitState(row.exit__state).is_final,
        row.exit__updated_at.timestamp(),
        [],
    )


def _readable(row: Any) -> OrderRecord | None:
    """Return an order, or none where its row says what nobody here knows: that is its exit's trouble alone."""
    try:
        return order_record(row)
    except ValueError:
        logger.exception("order %s cannot be read", row.tag)
        return None


def account_held(account_id: int) -> Sequence[Bound[Any]]:
    """Return what holds an account's row to the end of the transaction, where rows can be held."""
    return [_HELD(pk=account_id)] if connection.features.has_select_for_update else []


def own_orders(account_id: int, read_at: float, today: date) -> Bound[list[tuple[Any, ...]]]:
    """Read our orders of today that a position read begun at ``read_at`` (UNIX s) may not include.

    An order lives for a day: what an earlier one left open holds nothing any more.
    """
    return _MAY_MATTER(account=account_id, day=today, since=at(read_at))


def not_in_read(rows: Iterable[tuple[Any, ...]], read_at: float) -> list[OwnOrder]:
    """Return what of the rows that ``own_orders`` read is not in that position."""
    return _not_in_read([_Order(*row) for row in rows], read_at)


def _not_in_read(orders: Iterable[_Order], read_at: float) -> list[OwnOrder]:
    found: list[OwnOrder] = []
    for order in orders:
        is_later = at(read_at) <= order.updated_at <= at(read_at + SOON_S)
        if order.state not in FINAL_ORDERS:
            # A fill we learnt of after the position was read is not in that position: count it as to come.
            left = order.quantity if is_later else max(order.quantity - order.filled, 0)
            found.append(_own(order, left))
        elif order.filled > 0 and is_later:
            found.append(_own(order, order.filled))
    return found


def _own(order: _Order, unfilled: int) -> OwnOrder:
    return OwnOrder(order.tag, order.symbol, order.product, Side(order.side), unfilled, order.order_id)


def order_record(row: Any) -> OrderRecord:
    """Return one order as the journal has it; ``row`` is an ``ExitOrder``, or has its columns ``_OF_RECORD``."""
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
