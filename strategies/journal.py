"""The durable record of exits, and its only writer.

Every change is one short transaction guarded by the state it starts from, so of two writers
one wins and the other learns that it lost. Correctness rests on unique constraints and
conditional updates alone: they hold on SQLite and PostgreSQL, with or without a lease.

All of it blocks: call it from the exit engine's own thread.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from typing import Any, Protocol

from django.db import transaction

from marketdata.crashpoints import passing
from marketdata.domain.clock import Clock
from marketdata.domain.orders import OrderSnapshot
from marketdata.domain.prices import to_rupees
from marketdata.models import BrokerAccount
from marketdata.statements import Bound, run, together, unflushed
from strategies import rows
from strategies.alerts import announce, close_alerts, commit_alert
from strategies.announcing import Announcer
from strategies.domain.breaches import Intent
from strategies.domain.events import Command, End, Event, Note, Seen, Tell
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.ordering import has_room
from strategies.domain.record import ExitRecord, OrderRecord
from strategies.domain.tags import new_tag
from strategies.models import Alert, Exit, Strategy
from strategies.records import (
    ExitTask,
    MayTrade,
    account_held,
    at,
    begun,
    exit_task,
    not_in_read,
    own_orders,
    switches_of,
    trading_day,
)
from strategies.reporting import exit_body, plain, sentence, strategy_body
from strategies.services import close_strategy, new_exit

Change = tuple[OrderRecord | None, OrderRecord]
"""An order before a step, None when it is new, and after it."""


class Overtaken(Exception):
    """What a step was made from is no longer so: nothing was written."""


class Fence(Protocol):
    """Who owns a user's exits."""

    def held(self, user_id: int) -> Sequence[Bound[int]]:
        """Return what holds the ownership until the transaction around it ends; raises ``NotOwner``, then or when read."""
        ...


class NoFence:
    """For one process that owns everything."""

    def held(self, user_id: int) -> Sequence[Bound[int]]:
        """Everything is owned."""
        return ()


class Journal:
    """Writes ``Exit`` and ``ExitOrder``, and tells of it after the commit."""

    def __init__(
        self,
        announcer: Announcer,
        clock: Clock,
        rng: random.Random,
        may_trade: MayTrade,
        fence: Fence | None = None,
    ) -> None:
        self.announcer = announcer
        self._clock = clock
        self._rng = rng
        self._fence: Fence = fence or NoFence()
        self.may_trade = may_trade
        # Noted in one thread, told in another: each of these changes in one stroke.
        self._untold: dict[int, None] = {}
        self._begun: set[int] = set()

    def new_tag(self) -> str:
        """Return a name for an order to be planned."""
        return new_tag(trading_day(self._clock.time()), self._rng)

    def open_exits(self, intents: Sequence[Intent]) -> list[ExitTask | None]:
        """Commit intents to exit, all or none; None for an arming that is over or being exited.

        Who owns the users does not matter: that a stop was touched is a fact, and the price may be
        back before their owner looks. Only their owner sends an order for it.
        """
        with transaction.atomic():
            opened = [self._open_exit(intent) for intent in intents]
            passing("CP2")
        passing("CP3")
        return opened

    def _open_exit(self, intent: Intent) -> ExitTask | None:
        claimed, strategies = together(rows.claimed(intent), begun(intent.strategy_id))
        if not claimed:
            return None
        strategy, price = strategies[0], to_rupees(intent.price)
        row = new_exit(strategy, intent.reason, self._now(), price, intent.evidence)
        together(rows.insert_exit(row), self._event(strategy.pk, "sl_triggered", intent.evidence))
        self._tell_after_commit(row.pk, has_begun=True)
        return exit_task(row, strategy)

    def commit(
        self, task: ExitTask, new: ExitRecord, event: Event, commands: Sequence[Command]
    ) -> ExitRecord:
        """Commit one step of an exit, with what is told of it; return the record as it is now stored.

        Args:
            task: The exit as the step found it.
            new: The exit after the step.
            event: What the step was about; an order is planned from what it shows.
            commands: What the step asks for. What is to be told is told here.

        Raises:
            Overtaken: The record has changed meanwhile, others have taken the room for an order, or
                trading was switched off: nothing was written, and nothing may be sent.
            NotOwner: Another process owns this user's exits.

        """
        old = task.record
        tells = [command for command in commands if isinstance(command, Tell)]
        notes = [command for command in commands if isinstance(command, Note)]
        if new == old and not tells and not notes:
            return old
        _pass(_BEFORE, old, new)
        with transaction.atomic():
            transaction.on_commit(partial(_pass, _AFTER, old, new))  # before anybody is told
            new = self._write(task, new, event)
            self._end(task, new, commands)
            self._tell_concern(task, new)
            for note in notes:
                run(self._event(task.strategy_id, note.kind, {"text": note.text}))
            for tell in tells:
                self._alert(task, tell.kind, tell.text, urgency=_urgency(tell, commands))
            self._tell_after_commit(old.id)
        return new

    def _write(self, task: ExitTask, new: ExitRecord, event: Event) -> ExitRecord:
        """Of all that would change an exit from one version, one does; its rows are locked with it."""
        old = task.record
        changed = [(old.order(order.tag), order) for order in new.orders if order != old.order(order.tag)]
        lost = Overtaken(f"exit {old.id} has changed since version {old.version}")
        conditions: list[Bound[Any]] = [
            *self._fence.held(task.user_id),
            rows.exit_step(old, new, self._now()).or_fail(lost),
            *self._permission(task, changed),
            *(self._order_step(old, before, order) for before, order in changed if before is not None),
            *self._room(task, changed, event),
        ]
        added = [rows.insert_order(task, order) for before, order in changed if before is None]
        news = [self._order_news(task, order) for before, order in changed if _is_news(before, order)]
        # A plan that is lost with the machine was never sent; its permit puts it on the disk. What else the
        # broker's book adds lasts from now on.
        is_plan = added and all(
            order.state is OrderState.PLANNED for before, order in changed if before is None
        )
        together(*(unflushed() if is_plan else ()), *conditions, *added, *news)
        return replace(new, version=old.version + 1)

    def _permission(self, task: ExitTask, changed: Sequence[Change]) -> list[Bound[None]]:
        """Trading may have been switched off since an order was planned."""

        def ask(switches: Sequence[Strategy]) -> None:
            if self.may_trade(switches[0]) is not None:
                raise Overtaken("trading was switched off")

        is_to_leave = any(before and order.state is OrderState.SENDING for before, order in changed)
        return [switches_of(task.strategy_id).then(ask)] if is_to_leave else []

    def _room(self, task: ExitTask, changed: Sequence[Change], event: Event) -> list[Bound[Any]]:
        planned = [order for before, order in changed if before is None and order.state is OrderState.PLANNED]
        if not planned:
            return []
        [order] = planned  # of two, each would be found to have the same room
        read_at = getattr(event, "began_at", 0.0)

        def look(found: Sequence[tuple[Any, ...]]) -> None:
            own = not_in_read(found, read_at)
            if not (isinstance(event, Seen) and has_room(order, task.record, event, own)):
                raise Overtaken(f"no room is left for an order of exit {task.record.id}")

        # Two planners of an account take turns on PostgreSQL; SQLite has one writer.
        return [*account_held(task.account_id), own_orders(task.account_id, read_at, order.day).then(look)]

    def _order_step(self, exit_: ExitRecord, before: OrderRecord, order: OrderRecord) -> Bound[int]:
        lost = Overtaken(f"order {order.tag} is no longer {before.state.value}")
        return rows.order_step(exit_.id, before, order).or_fail(lost)

    def _order_news(self, task: ExitTask, order: OrderRecord) -> Bound[int]:
        return self._event(task.strategy_id, f"order_{order.state.value}", rows.order_detail(order))

    def _end(self, task: ExitTask, new: ExitRecord, commands: Sequence[Command]) -> None:
        """The strategy closes with its exit and lets go of its subscription."""
        if not new.state.is_final or task.record.state.is_final:
            return
        end = next((command for command in commands if isinstance(command, End)), End())
        changes = {"position": Strategy.Position.NONE} if end.is_flat else {}
        row = Exit.objects.get(pk=new.id)
        close_strategy(task.strategy_id, was=Strategy.Status.EXITING, epoch=row.epoch, **changes)
        run(self._event(task.strategy_id, f"exit_{new.state.value}", {"text": end.note}))
        close_alerts(row.pk, self._now(), kinds=["needs_human"])
        if new.state is ExitState.DONE:
            text = sentence(row, list(row.orders.order_by("id")))
            self._alert(task, "done", text, urgency=Alert.Urgency.INFO)

    def _tell_concern(self, task: ExitTask, new: ExitRecord) -> None:
        if new.state.is_final or new.concern == task.record.concern:
            return
        close_alerts(new.id, self._now(), kinds=["needs_human"])
        if new.concern:
            run(self._event(task.strategy_id, "needs_human", {"text": new.concern}))
            self._alert(task, "needs_human", new.concern)

    def alarm(self, user_id: int, text: str) -> None:
        """Tell a person without the database, for when it is the database that fails."""
        body = {"strategy": None, "symbol": "", "text": text, "at": self._clock.time()}
        self.announcer.tell(user_id, "alert", body)

    def strange_order(self, account_id: int, row: OrderSnapshot) -> None:
        """Commit and tell that the broker has an order with a tag of ours that is in no record."""
        account = BrokerAccount.objects.get(pk=account_id)
        text = (
            f"The broker shows order {row.order_id} ({row.side.value} {row.quantity} {row.symbol}, "
            f"{row.status_text}) with tag {row.tag}, which is in no record here: a backup was restored, or another "
            "installation uses this account. Look at the position."
        )
        with transaction.atomic():
            alert = commit_alert(
                user_id=account.user_id, kind="overfill", text=text, at=self._now(), account_id=account_id
            )
            if alert is not None:
                announce(alert, self.announcer)

    def budget(self, account_id: int, day: date, text: str) -> None:
        """Commit and tell that an account's order requests run out; the same once a day."""
        account = BrokerAccount.objects.get(pk=account_id)
        text = f"{account}, {day:%d %B}: {text}"
        with transaction.atomic():
            if Alert.objects.filter(account=account, kind="budget", text=text).exists():
                return
            alert = commit_alert(
                user_id=account.user_id, kind="budget", text=text, at=self._now(), account_id=account_id
            )
            if alert is not None:
                announce(alert, self.announcer)

    # --- telling pages and programs -------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Tell whether an exit was written that pages have not been told of."""
        return bool(self._untold)

    def tell(self) -> None:
        """Tell, as they are now, of the exits written since: an order that leaves does not wait for pages."""
        while self._untold:
            exit_id, _ = self._untold.popitem()
            has_begun = exit_id in self._begun
            self._begun.discard(exit_id)
            self._tell(exit_id, has_begun=has_begun)

    def _tell_after_commit(self, exit_id: int, *, has_begun: bool = False) -> None:
        def note() -> None:
            if has_begun:
                self._begun.add(exit_id)
            self._untold[exit_id] = None

        transaction.on_commit(note)

    def _tell(self, exit_id: int, *, has_begun: bool) -> None:
        row = Exit.objects.select_related("strategy__instrument", "strategy__account").get(pk=exit_id)
        user_id = row.strategy.user_id
        self.announcer.tell(user_id, "exit", exit_body(row))
        self.announcer.tell(user_id, "strategy", strategy_body(row.strategy))
        if has_begun and row.reason == "stop_loss":
            self.announcer.publish(f"strategies:{user_id}", _sl_triggered(row))

    # --- inside -------------------------------------------------------------------------

    def _event(self, strategy_id: int, kind: str, detail: Mapping[str, Any]) -> Bound[int]:
        return rows.insert_event(strategy_id, self._now(), kind, detail)

    def _alert(self, task: ExitTask, kind: str, text: str, *, urgency: str = Alert.Urgency.URGENT) -> None:
        alert = commit_alert(
            user_id=task.user_id,
            kind=kind,
            text=text,
            at=self._now(),
            strategy_id=task.strategy_id,
            exit_id=task.record.id,
            urgency=urgency,
        )
        if alert is not None:
            announce(alert, self.announcer)

    def _now(self) -> datetime:
        return at(self._clock.time())


_BEFORE = {OrderState.FILLED: "CP13", OrderState.CANCELLED: "CP13"}
_AFTER = {
    OrderState.PLANNED: "CP5",
    OrderState.SENDING: "CP6",
    OrderState.ACKED: "CP9",
    OrderState.LIVE: "CP9",
    OrderState.CANCELLING: "CP10",
    OrderState.FILLED: "CP14",
    OrderState.CANCELLED: "CP14",
}


def _pass(places: Mapping[OrderState, str], old: ExitRecord, new: ExitRecord) -> None:
    for order in new.orders:
        before = old.order(order.tag)
        if (before is None or before.state is not order.state) and order.state in places:
            passing(places[order.state])
    if places is _AFTER and new.state is ExitState.DONE and not old.state.is_final:
        passing("CP15")


def _urgency(tell: Tell, commands: Sequence[Command]) -> str:
    """A position that is known to be gone is news; everything else is repeated until acknowledged."""
    is_news = tell.kind == "aborted" and any(isinstance(c, End) and c.is_flat for c in commands)
    return Alert.Urgency.INFO if is_news else Alert.Urgency.URGENT


def _is_news(before: OrderRecord | None, order: OrderRecord) -> bool:
    return before is None or (order.state, order.filled) != (before.state, before.filled)


def _sl_triggered(row: Exit) -> dict[str, Any]:
    return {
        "type": "SL_TRIGGERED",
        "strategy_id": row.strategy_id,
        "symbol": row.strategy.symbol,
        "price": plain(row.trigger_price),
        "timestamp": row.created_at.isoformat(),
    }
