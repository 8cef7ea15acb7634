"""The durable record of exits, and its only writer.

Every change is one short transaction guarded by the state it starts from, so of two writers
one wins and the other learns that it lost. Correctness rests on unique constraints and
conditional updates alone: they hold on SQLite and PostgreSQL, with or without a lease.

All of it blocks: call it from the exit engine's own thread.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction

from marketdata.domain.clock import Clock
from marketdata.domain.orders import OrderSnapshot, RejectClass, WriteResult
from marketdata.domain.prices import to_rupees
from marketdata.models import BrokerAccount
from strategies.alerts import announce, close_alerts, commit_alert
from strategies.announcing import Announcer
from strategies.domain.breaches import Breach
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.planning import Send, room
from strategies.domain.steps import (
    PLAN_MAX_AGE_S,
    OrderRecord,
    state_after_write,
    state_in_book,
    states_before,
)
from strategies.domain.tags import new_tag
from strategies.models import Alert, Exit, ExitOrder, Strategy, StrategyEvent
from strategies.records import FINAL_EXITS, MayTrade, at, own_orders, trading_day
from strategies.reporting import exit_body, plain, sentence, strategy_body
from strategies.services import close_strategy, create_exit


class Journal:
    """Writes ``Exit`` and ``ExitOrder``, and tells of it after the commit."""

    def __init__(self, announcer: Announcer, clock: Clock, rng: random.Random) -> None:
        self._announcer = announcer
        self._clock = clock
        self._rng = rng

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
            row = create_exit(
                strategy, breach.reason, self._now(), to_rupees(breach.price), breach.evidence()
            )
            self._event(strategy, "sl_triggered", breach.evidence())
            self._after_commit(row)
        return row.pk

    def plan_order(self, exit_id: int, plan: Send, read_at: float) -> bool:
        """Commit a planned order; False when the exposure rule leaves no room for it.

        ``read_at`` (UNIX seconds) is when the read began that the plan was made from.
        """
        with transaction.atomic():
            # The row lock makes two planners on PostgreSQL take turns; SQLite has one writer anyway.
            row = Exit.objects.select_related("strategy__instrument").get(pk=exit_id)
            account = BrokerAccount.objects.select_for_update().get(pk=row.strategy.account_id)
            if not self._has_room(row, plan, read_at):
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
            if not row.concern:  # what a person was told stands until the order has left
                self._move(row, ExitState.WORKING, concern="")
            detail = {"tag": order.tag, "side": plan.side, "quantity": plan.quantity, "product": plan.product}
            self._event(row.strategy, "order_planned", {**detail, "shortfall": plan.shortfall})
        return True

    def permit(self, order_id: int, may_trade: MayTrade) -> bool:
        """Commit the one permission to send this order; True for exactly one caller, once ever.

        False also when its plan has grown old, and when trading was switched off meanwhile.
        """
        now = self._now()
        with transaction.atomic():
            order = ExitOrder.objects.select_related("exit__strategy__account").get(pk=order_id)
            if may_trade(order.exit.strategy) is not None:
                return False
            oldest = now - timedelta(seconds=PLAN_MAX_AGE_S)
            won = ExitOrder.objects.filter(
                pk=order_id, state=OrderState.PLANNED, planned_at__gte=oldest, planned_at__lte=now
            ).update(state=OrderState.SENDING, sent_at=now, updated_at=now)
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

    def record_book(
        self, order: OrderRecord, snapshot: OrderSnapshot, reject_class: RejectClass | None = None
    ) -> bool:
        """Commit what the broker's book says of an order; True when it was news.

        ``reject_class`` is what the broker's reply said, where there was one.
        """
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
            # Refused after acceptance: the book gives no class, so a person has to look.
            fields["reject_class"] = reject_class or RejectClass.HUMAN
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
            close_alerts(row.pk, self._now())
            if text:
                self._event(row.strategy, "needs_human", {"text": text})
                self._alert(row, "needs_human", text)

    def finish(self, exit_id: int, state: ExitState, note: str, *, is_flat: bool) -> None:
        """Commit the end of an exit: the strategy closes and lets go of its subscription.

        ``is_flat`` says that the position is known to be gone.
        """
        with transaction.atomic():
            row = Exit.objects.select_related("strategy__instrument").get(pk=exit_id)
            if ExitState(row.state).is_final:
                return
            self._move(row, state, concern=note if state is ExitState.ABORTED else "")
            changes = {"position": Strategy.Position.NONE} if is_flat else {}
            close_strategy(row.strategy_id, was=Strategy.Status.EXITING, epoch=row.epoch, **changes)
            self._event(row.strategy, f"exit_{state.value}", {"text": note})
            close_alerts(row.pk, self._now())
            self._alert_end(row.pk, urgency=Alert.Urgency.INFO if is_flat else Alert.Urgency.URGENT)

    def alarm(self, user_id: int, text: str) -> None:
        """Tell a person without the database, for when it is the database that fails."""
        body = {"strategy": None, "symbol": "", "text": text, "at": self._clock.time()}
        self._announcer.tell(user_id, "alert", body)

    def feeds_disagree(self, user_id: int, symbol: str, prices: Mapping[int, int]) -> None:
        """Commit and tell that a user's feeds disagree on a price (units by account)."""
        names = {row.pk: str(row) for row in BrokerAccount.objects.filter(pk__in=prices)}
        shown = {names[pk]: str(to_rupees(price)) for pk, price in prices.items() if pk in names}
        text = f"The feeds disagree on {symbol}: " + ", ".join(
            f"{name} {price}" for name, price in shown.items()
        )
        exchange, _, tradingsymbol = symbol.partition(":")
        with transaction.atomic():
            for strategy in Strategy.objects.filter(
                user=user_id,
                status=Strategy.Status.ACTIVE,
                instrument__exchange=exchange,
                instrument__tradingsymbol=tradingsymbol,
            ):
                self._event(strategy, "feeds_disagree", {"prices": shown})
            urgency = Alert.Urgency.INFO
            alert = commit_alert(
                user_id=user_id, kind="feeds_disagree", text=text, at=self._now(), urgency=urgency
            )
            if alert is not None:
                announce(alert, self._announcer)

    # --- inside -------------------------------------------------------------------------

    def _has_room(self, row: Exit, plan: Send, read_at: float) -> bool:
        """The exposure rule: an order whose fate is unknown counts as fully live."""
        exposure = sum(
            order.filled_quantity if OrderState(order.state).is_final else order.quantity
            for order in row.orders.all()
        )
        own = own_orders(row.strategy.account_id, read_at)
        return exposure + plan.quantity <= row.quantity and plan.quantity <= room(plan.row, plan.side, own)

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
        Exit.objects.filter(pk=row.pk).exclude(state__in=FINAL_EXITS).update(
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

    def _alert_end(self, exit_id: int, *, urgency: str) -> None:
        row = Exit.objects.select_related("strategy__instrument").get(pk=exit_id)
        self._alert(row, row.state, sentence(row, list(row.orders.order_by("id"))), urgency=urgency)

    def _alert(self, row: Exit, kind: str, text: str, *, urgency: str = Alert.Urgency.URGENT) -> None:
        alert = commit_alert(
            user_id=row.strategy.user_id,
            kind=kind,
            text=text,
            at=self._now(),
            strategy_id=row.strategy_id,
            exit_id=row.pk,
            urgency=urgency,
        )
        if alert is not None:
            announce(alert, self._announcer)

    def _now(self) -> datetime:
        return at(self._clock.time())

    def _trading_day(self) -> date:
        return trading_day(self._clock.time())


def _order_detail(order: ExitOrder) -> dict[str, Any]:
    return {
        "tag": order.tag,
        "order_id": order.broker_order_id,
        "quantity": order.quantity,
        "filled": order.filled_quantity,
        "average_price": plain(order.average_price),
        "message": order.message,
    }


def _sl_triggered(row: Exit) -> dict[str, Any]:
    return {
        "type": "SL_TRIGGERED",
        "strategy_id": row.strategy_id,
        "symbol": row.strategy.symbol,
        "price": plain(row.trigger_price),
        "timestamp": row.created_at.isoformat(),
    }
