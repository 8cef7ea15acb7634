"""The durable record of exits, and its only writer.

Every change is one short transaction guarded by the state it starts from, so of two writers
one wins and the other learns that it lost. Correctness rests on unique constraints and
conditional updates alone: they hold on SQLite and PostgreSQL, with or without a lease.

All of it blocks: call it from the exit engine's own thread.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import QuerySet

from marketdata.domain.clock import Clock
from marketdata.domain.orders import OrderRequest, OrderSnapshot, RejectClass, Side, WriteResult
from marketdata.domain.prices import to_rupees, to_units
from marketdata.models import BrokerAccount
from marketdata.ports import BrokerConfig
from strategies.announcing import Announcer
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.planning import Need, OwnOrder, Send
from strategies.domain.steps import (
    ExitRecord,
    OrderRecord,
    state_after_write,
    state_in_book,
    states_before,
)
from strategies.domain.stops import Stop
from strategies.domain.tags import new_tag
from strategies.models import Exit, ExitOrder, Strategy, StrategyEvent
from strategies.reporting import exit_body, plain, strategy_body
from strategies.services import close_strategy, create_exit

IST = ZoneInfo("Asia/Kolkata")
MayTrade = Callable[[Strategy], str]
"""Why no order may be sent for a strategy; empty when one may."""

_FINAL_EXITS = [state for state in ExitState if state.is_final]
_FINAL_ORDERS = [state for state in OrderState if state.is_final]


@dataclass(frozen=True, slots=True)
class Breach:
    """A stop that was touched, with the proof. Prices in units, times in UNIX seconds."""

    stop: Stop
    price: int
    received_at: float
    exchange_time: int | None
    source: str  # "tick" or "quote"
    decided_at: float

    def evidence(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "price": str(to_rupees(self.price)),
            "stop": str(to_rupees(self.stop.price)),
            "received_at": self.received_at,
            "exchange_time": self.exchange_time,
            "decided_at": self.decided_at,
        }


@dataclass(frozen=True, slots=True)
class ExitTask:
    """What the engine needs of one open exit."""

    record: ExitRecord
    user_id: int
    account_id: int
    need: Need
    refusal: str  # why no order may be sent for it, or empty
    concern: str


class Journal:
    """Reads and writes ``Exit`` and ``ExitOrder``."""

    def __init__(self, announcer: Announcer, clock: Clock, rng: random.Random, may_trade: MayTrade) -> None:
        self._announcer = announcer
        self._clock = clock
        self._rng = rng
        self._may_trade = may_trade

    # --- reading ------------------------------------------------------------------------

    def armed_stops(self) -> list[Stop]:
        """Return every stop that has to be watched."""
        rows = Strategy.objects.filter(
            status=Strategy.Status.ACTIVE,
            position__in=("BOUGHT", "SOLD"),
            stop_loss__isnull=False,
            quantity__gt=0,
        ).values_list(
            "id",
            "epoch",
            "user_id",
            "instrument__exchange",
            "instrument__tradingsymbol",
            "stop_loss",
            "position",
        )
        return [
            Stop(pk, epoch, user, f"{exchange}:{symbol}", to_units(stop), position == "BOUGHT")
            for pk, epoch, user, exchange, symbol, stop, position in rows.iterator()
            if stop is not None
        ]

    def open_exits(self) -> list[int]:
        """Return the ids of exits that are not finished, oldest first."""
        return list(Exit.objects.exclude(state__in=_FINAL_EXITS).order_by("id").values_list("id", flat=True))

    def load(self, exit_id: int) -> ExitTask:
        """Return one exit as it stands."""
        row = Exit.objects.select_related("strategy__account", "strategy__instrument").get(pk=exit_id)
        strategy = row.strategy
        record = ExitRecord(
            row.pk,
            ExitState(row.state),
            row.quantity,
            tuple(_order_record(order) for order in row.orders.order_by("id")),
        )
        need = Need(strategy.symbol, strategy.product, strategy.position == "BOUGHT", max(record.residual, 0))
        refusal = self._may_trade(strategy)
        return ExitTask(record, strategy.user_id, strategy.account_id, need, refusal, row.concern)

    def request(self, order_id: int) -> OrderRequest:
        """Return a planned order as it is to be sent."""
        row = ExitOrder.objects.select_related("exit__strategy__instrument").get(pk=order_id)
        return OrderRequest(
            row.tag, row.exit.strategy.symbol, Side(row.side), row.quantity, row.product, row.price
        )

    def config(self, account_id: int) -> BrokerConfig:
        """Return an account's present credentials."""
        row = BrokerAccount.objects.get(pk=account_id)
        return BrokerConfig(row.pk, row.broker, row.client_id, row.api_key, row.api_secret, row.access_token)

    def own_orders(self, account_id: int, read_at: float) -> list[OwnOrder]:
        """Return our orders that a position read begun at ``read_at`` (UNIX s) may not include."""
        still_open = ExitOrder.objects.filter(account=account_id).exclude(state__in=_FINAL_ORDERS)
        just_ended = ExitOrder.objects.filter(
            account=account_id, state__in=_FINAL_ORDERS, filled_quantity__gt=0, updated_at__gte=_at(read_at)
        )
        orders = [_own(row, _may_still_fill(row, read_at)) for row in _with_symbol(still_open)]
        return orders + [_own(row, row.filled_quantity) for row in _with_symbol(just_ended)]

    # --- writing ------------------------------------------------------------------------

    def open_exit(self, breach: Breach) -> int | None:
        """Commit the intent to exit; None when that arming is over or already being exited."""
        stop = breach.stop
        with transaction.atomic():
            claimed = Strategy.objects.filter(
                pk=stop.strategy_id, epoch=stop.epoch, status=Strategy.Status.ACTIVE
            ).update(
                status=Strategy.Status.EXITING, sl_triggered=True, sl_trigger_price=to_rupees(breach.price)
            )
            if not claimed:
                return None
            strategy = Strategy.objects.select_related("instrument").get(pk=stop.strategy_id)
            row = create_exit(strategy, "stop_loss", self._now(), to_rupees(breach.price), breach.evidence())
            self._event(strategy, "sl_triggered", breach.evidence())
            self._after_commit(row)
        return row.pk

    def plan_order(self, exit_id: int, plan: Send, position: int, read_at: float) -> bool:
        """Commit a planned order; False when the exposure rule leaves no room for it.

        ``position`` is what the broker's row says is held, unsigned; ``read_at`` (UNIX seconds)
        is when that read began.
        """
        with transaction.atomic():
            # The row lock makes two planners on PostgreSQL take turns; SQLite has one writer anyway.
            row = Exit.objects.select_related("strategy__instrument").get(pk=exit_id)
            account = BrokerAccount.objects.select_for_update().get(pk=row.strategy.account_id)
            if not self._has_room(row, plan, position, read_at):
                return False
            now = self._now()
            order = ExitOrder.objects.create(
                exit=row,
                account=account,
                try_no=row.orders.count() + 1,
                trading_day=self._trading_day(),
                tag=new_tag(self._trading_day(), self._rng),
                side=plan.side,
                product=plan.product,
                quantity=plan.quantity,
                state=OrderState.PLANNED,
                planned_at=now,
                updated_at=now,
            )
            self._move(row, ExitState.WORKING, concern="")
            detail = {"tag": order.tag, "side": plan.side, "quantity": plan.quantity, "product": plan.product}
            self._event(row.strategy, "order_planned", {**detail, "shortfall": plan.shortfall})
        return True

    def permit(self, order_id: int) -> bool:
        """Commit the one permission to send this order; True for exactly one caller, once ever."""
        now = self._now()
        with transaction.atomic():
            won = ExitOrder.objects.filter(pk=order_id, state=OrderState.PLANNED).update(
                state=OrderState.SENDING, sent_at=now, updated_at=now
            )
        return won == 1

    def record_write(self, order_id: int, result: WriteResult) -> None:
        """Commit how the one place request of an order ended."""
        changed = self._order_to(
            order_id,
            state_after_write(result),
            broker_order_id=result.order_id,
            message=result.message,
            reject_class=result.reject_class or "",
        )
        if not changed and result.order_id:
            # The book overtook the reply; the broker's id is still worth keeping.
            ExitOrder.objects.filter(pk=order_id, broker_order_id="").update(broker_order_id=result.order_id)

    def record_book(self, order: OrderRecord, snapshot: OrderSnapshot) -> bool:
        """Commit what the broker's book says of an order; True when it was news."""
        state = state_in_book(snapshot)
        if state is OrderState.LIVE and order.state is OrderState.CANCELLING:
            state = OrderState.CANCELLING
        if (state, snapshot.filled_quantity) == (order.state, order.filled):
            return False
        fields: dict[str, Any] = {
            "broker_order_id": snapshot.order_id,
            "filled_quantity": snapshot.filled_quantity,
            "average_price": snapshot.average_price,
            "message": snapshot.message,
        }
        if state is OrderState.REJECTED:
            fields["reject_class"] = RejectClass.HUMAN  # refused after acceptance: the book gives no class
        return self._order_to(order.id, state, **fields)

    def void(self, order_id: int, reason: str) -> None:
        """Commit that a planned order will never be sent."""
        self._order_to(order_id, OrderState.VOID, message=reason)

    def recover_sending(self) -> int:
        """At start nobody is sending: what says so may be at the broker or not. Return how many."""
        with transaction.atomic():
            return ExitOrder.objects.filter(state=OrderState.SENDING).update(
                state=OrderState.UNKNOWN, updated_at=self._now(), message="interrupted while sending"
            )

    def concern(self, exit_id: int, text: str) -> None:
        """Commit what a person has to know about a working exit (empty: all is well again)."""
        with transaction.atomic():
            row = Exit.objects.select_related("strategy__instrument").get(pk=exit_id)
            if row.concern == text or ExitState(row.state).is_final:
                return
            state = ExitState.NEEDS_HUMAN if text else ExitState.WORKING
            self._move(row, state, concern=text)
            if text:
                self._event(row.strategy, "needs_human", {"text": text})
                self._alert(row, text)

    def finish(self, exit_id: int, state: ExitState, note: str) -> None:
        """Commit the end of an exit: the strategy closes and lets go of its subscription."""
        with transaction.atomic():
            row = Exit.objects.select_related("strategy__instrument").get(pk=exit_id)
            if ExitState(row.state).is_final:
                return
            self._move(row, state, concern=note if state is ExitState.ABORTED else "")
            close_strategy(row.strategy, position_is_closed=True)
            self._event(row.strategy, f"exit_{state.value}", {"text": note})
            if state is ExitState.ABORTED:
                self._alert(row, note)

    # --- inside -------------------------------------------------------------------------

    def _has_room(self, row: Exit, plan: Send, position: int, read_at: float) -> bool:
        """The exposure rule: an order whose fate is unknown counts as fully live."""
        exposure = sum(
            order.filled_quantity if OrderState(order.state).is_final else order.quantity
            for order in row.orders.all()
        )
        on_its_way = sum(
            own.unfilled
            for own in self.own_orders(row.strategy.account_id, read_at)
            if (own.symbol, own.product, own.side) == (row.strategy.symbol, plan.product, plan.side)
        )
        return exposure + plan.quantity <= row.quantity and plan.quantity <= position - on_its_way

    def _order_to(self, order_id: int, state: OrderState, **fields: Any) -> bool:
        with transaction.atomic():
            before = [*states_before(state), *([] if state.is_final else [state])]
            fields = {name: value for name, value in fields.items() if value not in (None, "")}
            changed = ExitOrder.objects.filter(pk=order_id, state__in=before).update(
                state=state, updated_at=self._now(), **fields
            )
            if changed:
                order = ExitOrder.objects.select_related("exit__strategy__instrument").get(pk=order_id)
                self._event(order.exit.strategy, f"order_{state.value}", _order_detail(order))
                self._after_commit(order.exit)
        return changed == 1

    def _move(self, row: Exit, state: ExitState, *, concern: str) -> None:
        Exit.objects.filter(pk=row.pk).exclude(state__in=_FINAL_EXITS).update(
            state=state, concern=concern, updated_at=self._now()
        )
        self._after_commit(row)

    def _event(self, strategy: Strategy, kind: str, detail: Mapping[str, Any]) -> None:
        StrategyEvent.objects.create(strategy=strategy, at=self._now(), kind=kind, detail=dict(detail))

    def _after_commit(self, row: Exit) -> None:
        transaction.on_commit(lambda: self._tell(row.pk), robust=True)

    def _tell(self, exit_id: int) -> None:
        row = Exit.objects.select_related("strategy__instrument", "strategy__account").get(pk=exit_id)
        user_id = row.strategy.user_id
        self._announcer.tell(user_id, "exit", exit_body(row))
        self._announcer.tell(user_id, "strategy", strategy_body(row.strategy))
        if row.state == ExitState.TRIGGERED and row.reason == "stop_loss":
            self._announcer.publish(f"strategies:{user_id}", _sl_triggered(row))

    def _alert(self, row: Exit, text: str) -> None:
        body = {
            "strategy": row.strategy_id,
            "symbol": row.strategy.symbol,
            "text": text,
            "at": self._clock.time(),
        }
        user_id = row.strategy.user_id
        transaction.on_commit(lambda: self._announcer.tell(user_id, "alert", body), robust=True)

    def _now(self) -> datetime:
        return _at(self._clock.time())

    def _trading_day(self) -> date:
        return self._now().astimezone(IST).date()


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _with_symbol(orders: QuerySet[ExitOrder]) -> Iterable[ExitOrder]:
    return orders.select_related("exit__strategy__instrument")


def _may_still_fill(row: ExitOrder, read_at: float) -> int:
    """A fill we learnt of after the position was read is not in that position: count it as to come."""
    return row.quantity if row.updated_at >= _at(read_at) else row.quantity - row.filled_quantity


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
        sent_at=row.sent_at.timestamp() if row.sent_at else None,
        broker_order_id=row.broker_order_id,
        reject_class=RejectClass(row.reject_class) if row.reject_class else None,
        message=row.message,
    )


def _order_detail(order: ExitOrder) -> dict[str, Any]:
    return {
        "tag": order.tag,
        "order_id": order.broker_order_id,
        "quantity": order.quantity,
        "filled": order.filled_quantity,
        "average_price": str(order.average_price) if order.average_price is not None else None,
        "message": order.message,
    }


def _sl_triggered(row: Exit) -> dict[str, Any]:
    return {
        "type": "SL_TRIGGERED",
        "strategy_id": row.strategy_id,
        "symbol": row.strategy.symbol,
        "price": str(plain(row.trigger_price)),
        "timestamp": row.created_at.isoformat(),
    }
