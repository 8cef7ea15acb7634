"""The only writers of a strategy's life.

Synchronous and database-only: no broker is called, no listener and no Redis is needed. The
listeners find what was written within two seconds, sooner when a hint gets through.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from marketdata.domain.sessions import IST
from marketdata.history import record
from marketdata.listening import keep_running
from marketdata.subscriptions import SubscriptionManager
from strategies.alerts import announce, close_alerts, close_open, commit_alert
from strategies.announcing import LayerAnnouncer
from strategies.domain.exits import ExitState, OrderState
from strategies.models import Exit, Strategy, StrategyEvent
from strategies.reporting import exit_body, plain, strategy_body

By = AbstractBaseUser | AnonymousUser | None
_STARTABLE = (Strategy.Status.DRAFT, Strategy.Status.CLOSED, Strategy.Status.SUSPENDED)
SUSPENDED = "suspended"
_subscriptions = SubscriptionManager()
_announcer = LayerAnnouncer()


class StrategyError(Exception):
    """What was asked cannot be done; the text says why, for a person."""


def start_strategy(strategy: Strategy, *, by: By = None) -> Strategy:
    """Arm a strategy: a new epoch, its subscription, and a running account, in one transaction.

    Raises:
        StrategyError: Incomplete, already active, or being exited.

    """
    strategy.refresh_from_db()  # what counts is what is stored, not what the caller holds
    _check_complete(strategy)
    with transaction.atomic():
        started = Strategy.objects.filter(pk=strategy.pk, status__in=_STARTABLE).update(
            status=Strategy.Status.ACTIVE,
            epoch=F("epoch") + 1,
            sl_triggered=False,
            sl_trigger_price=None,
            contract=strategy.instrument.contract,
        )
        if not started:
            raise StrategyError(_why_not(strategy, "started"))
        close_open(timezone.now(), (SUSPENDED,), strategy=strategy.pk)
        _subscriptions.on_strategy_started(strategy.pk, strategy.account_id, strategy.instrument_id)
        keep_running([strategy.account_id], by=by, reason=f"{strategy} started")
        return _changed(strategy, "started", by, {"stop_loss": plain(strategy.stop_loss)})


def create_strategy(strategy: Strategy, *, by: By = None) -> Strategy:
    """Store a new strategy as a draft; nothing is armed. ``strategy`` is an unsaved instance."""
    with transaction.atomic():
        strategy.status = Strategy.Status.DRAFT
        Strategy.objects.bulk_create([strategy])  # no signal: the history is told below, with who did it
        return _changed(strategy, "created", by, {"stop_loss": plain(strategy.stop_loss)})


def change_strategy(strategy: Strategy, changes: Mapping[str, Any], *, by: By = None) -> Strategy:
    """Change what a strategy is about, while nothing is armed; its name may change at any time.

    Args:
        strategy: A saved row.
        changes: Columns with their new values; ``stop_loss`` among them may be None.
        by: Who asked for it.

    Raises:
        StrategyError: It is armed or being exited: nothing was changed.

    """
    rows = Strategy.objects.filter(pk=strategy.pk)
    if set(changes) - {"name"}:
        rows = rows.filter(status__in=_STARTABLE)
    with transaction.atomic():
        if changes and not rows.update(**changes):
            raise StrategyError(_why_not(strategy, "changed"))
        return _changed(strategy, "changed", by, {"text": ", ".join(sorted(changes)).replace("_", " ")})


def delete_draft(strategy: Strategy) -> None:
    """Remove a strategy that was never started.

    Raises:
        StrategyError: It was started: it and its record stay.

    """
    told = {"id": strategy.pk, "deleted": True}
    with transaction.atomic():
        drafts = Strategy.objects.select_for_update().filter(pk=strategy.pk, status=Strategy.Status.DRAFT)
        draft = drafts.first()
        if draft is None:
            raise StrategyError(_why_not(strategy, "deleted"))
        draft.delete()
        transaction.on_commit(lambda: _announcer.tell(strategy.user_id, "strategy", told), robust=True)


def stop_strategy(strategy: Strategy, *, by: By = None) -> Strategy:
    """Disarm a strategy and let go of its subscription. Its position is left as it is.

    Raises:
        StrategyError: Not active; an exit that has begun is not called back.

    """
    with transaction.atomic():
        if not close_strategy(strategy.pk, was=Strategy.Status.ACTIVE):
            raise StrategyError(_why_not(strategy, "stopped"))
        return _changed(strategy, "stopped", by, {})


def update_stop(strategy: Strategy, stop_loss: Decimal, *, by: By = None) -> Strategy:
    """Move the stop. On an active strategy that is a new epoch, so no decision on the old one counts.

    Raises:
        StrategyError: Not a positive multiple of the tick size, or the strategy is being exited.

    """
    stop = _checked_stop(strategy, stop_loss)
    with transaction.atomic():
        old = Strategy.objects.values_list("stop_loss", flat=True).get(pk=strategy.pk)
        moved = (
            Strategy.objects.filter(pk=strategy.pk)
            .exclude(status=Strategy.Status.EXITING)
            .update(stop_loss=stop, epoch=F("epoch") + 1)
        )
        if not moved:
            raise StrategyError(_why_not(strategy, "changed"))
        return _changed(strategy, "stop_moved", by, {"from": plain(old), "to": plain(stop)})


def exit_now(strategy: Strategy, *, by: By = None) -> Strategy:
    """Record the wish to leave the position at once; the listeners send the order.

    Raises:
        StrategyError: Not active, without a position, or already being exited.

    """
    strategy.refresh_from_db()
    if strategy.position == Strategy.Position.NONE or not strategy.quantity:
        raise StrategyError(f"{strategy} has no position to exit.")
    with transaction.atomic():
        claimed = Strategy.objects.filter(pk=strategy.pk, status=Strategy.Status.ACTIVE).update(
            status=Strategy.Status.EXITING
        )
        if not claimed:
            raise StrategyError(_why_not(strategy, "exited"))
        strategy.refresh_from_db()
        row = new_exit(strategy, "manual", timezone.now(), None, {"source": "manual", "by": str(by or "")})
        row.save(force_insert=True)
        transaction.on_commit(lambda: _announcer.tell(strategy.user_id, "exit", exit_body(row)), robust=True)
        return _changed(strategy, "exit_asked", by, {})


def retry_exit(row: Exit, *, by: By = None) -> Exit:
    """Record that a person wants an exit that waits for them to be tried again.

    An order whose fate is unknown is given up by it, if the broker's next answer shows no sign of
    it: whoever calls this has looked for its tag in the broker's own order book.

    Raises:
        StrategyError: The exit does not wait for a person, or an order is on its way just now.

    """
    with transaction.atomic():
        if row.orders.filter(state=OrderState.SENDING).exists():
            raise StrategyError(
                "An order is on its way to the broker: wait for its answer, 10 seconds at most."
            )
        count = row.orders.count()
        return _told_by_a_person(row, "retry_asked", by, resumed_at=timezone.now(), resumed_after=count)


def abandon_exit(row: Exit, *, by: By = None) -> Exit:
    """End an exit that waits for a person. What it still has at the broker is cancelled.

    Raises:
        StrategyError: The exit does not wait for a person.

    """
    note = f"Ended by {by}: the rest is theirs." if by else "Ended by a person: the rest is theirs."
    with transaction.atomic():
        row = _told_by_a_person(row, "exit_abandoned", by, state=ExitState.ABORTED, concern=note)
        close_strategy(row.strategy_id, was=Strategy.Status.EXITING, epoch=row.epoch)
        close_alerts(row.pk, timezone.now(), kinds=["needs_human"])
    return row


def _told_by_a_person(row: Exit, kind: str, by: By, **columns: Any) -> Exit:
    """Change an exit that waits for a person; its worker takes that up within two seconds."""
    with transaction.atomic():
        waiting = Exit.objects.filter(pk=row.pk, state=ExitState.NEEDS_HUMAN)
        if not waiting.update(version=F("version") + 1, updated_at=timezone.now(), **columns):
            raise StrategyError(f"The exit of {row.strategy} does not wait for anybody.")
        row.refresh_from_db()
        _changed(row.strategy, kind, by, {})
        transaction.on_commit(
            lambda: _announcer.tell(row.strategy.user_id, "exit", exit_body(row)), robust=True
        )
    return row


def suspend_strategy(strategy: Strategy, reason: str) -> bool:
    """Take the stop off until a person starts the strategy again, and tell them why.

    The caller holds the transaction. False, and nothing done, when it is no longer as it was read.
    """
    rows = Strategy.objects.filter(pk=strategy.pk, status=Strategy.Status.ACTIVE, epoch=strategy.epoch)
    if not rows.update(status=Strategy.Status.SUSPENDED):
        return False
    _subscriptions.on_strategy_stopped(strategy.pk)
    alert = commit_alert(
        user_id=strategy.user_id, kind=SUSPENDED, text=reason, at=timezone.now(), strategy_id=strategy.pk
    )
    if alert is not None:
        announce(alert, _announcer)
    _changed(strategy, SUSPENDED, None, {"text": reason})
    return True


def new_exit(
    strategy: Strategy, reason: str, at: datetime, price: Decimal | None, evidence: Mapping[str, Any]
) -> Exit:
    """Return the intent to exit a strategy, to be stored in the transaction that claims it."""
    return Exit(
        strategy=strategy,
        epoch=strategy.epoch,
        reason=reason,
        trigger_price=price,
        quantity=strategy.quantity,
        state=ExitState.TRIGGERED,
        evidence=dict(evidence),
        created_at=at,
        updated_at=at,
    )


def close_strategy(strategy_id: int, *, was: str, **changes: Any) -> bool:
    """Close a strategy that still is what it ``was`` and let go of its subscription.

    The caller holds the transaction. ``changes`` are further columns; ``epoch`` narrows it to one
    arming. False, and nothing done, when the strategy has moved on.
    """
    rows = Strategy.objects.filter(pk=strategy_id, status=was)
    if "epoch" in changes:
        rows = rows.filter(epoch=changes.pop("epoch"))
    if not rows.update(status=Strategy.Status.CLOSED, **changes):
        return False
    _subscriptions.on_strategy_stopped(strategy_id)
    return True


def _check_complete(strategy: Strategy) -> None:
    if strategy.account.user_id != strategy.user_id:
        raise StrategyError(f"{strategy.account} belongs to another user.")
    if strategy.account.broker != strategy.instrument.broker:
        raise StrategyError(
            f"{strategy.instrument} is listed by {strategy.instrument.get_broker_display()}, "
            f"but {strategy.account} is an account of {strategy.account.get_broker_display()}."
        )
    expiry = strategy.instrument.expiry
    if expiry is not None and expiry < timezone.now().astimezone(IST).date() and not _is_always_open():
        raise StrategyError(
            f"{strategy.instrument} expired on {expiry}: nothing can be sold or bought any more."
        )
    if strategy.position == Strategy.Position.NONE:
        return  # watched only; nothing can trigger
    if not strategy.quantity:
        raise StrategyError(f"{strategy} has a position but no quantity: set the quantity held.")
    if strategy.stop_loss is None:
        raise StrategyError(f"{strategy} has a position but no stop-loss: set one.")
    _checked_stop(strategy, strategy.stop_loss)


def _is_always_open() -> bool:
    return bool(settings.MARKET_HOURS == "always")


def _checked_stop(strategy: Strategy, stop_loss: Decimal) -> Decimal:
    try:
        stop = Decimal(stop_loss)
    except (ArithmeticError, TypeError, ValueError):
        raise StrategyError(f"Stop-loss {stop_loss!r} is not a number.") from None
    if not stop.is_finite() or stop <= 0:
        raise StrategyError(f"Stop-loss {stop_loss} must be above zero.")
    tick = Decimal(strategy.instrument.tick_size)
    if tick > 0 and stop % tick:
        raise StrategyError(
            f"Stop-loss {stop_loss} must be a multiple of the tick size {tick.normalize():f}."
        )
    return stop


def _why_not(strategy: Strategy, verb: str) -> str:
    status = Strategy.objects.values_list("status", flat=True).get(pk=strategy.pk)
    if status == Strategy.Status.EXITING:
        return f"{strategy} is already being exited and cannot be {verb}."
    return f"{strategy} is {status} and cannot be {verb}."


def _changed(strategy: Strategy, kind: str, by: By, detail: Mapping[str, Any]) -> Strategy:
    who = str(by) if by else ""
    StrategyEvent.objects.create(
        strategy=strategy, at=timezone.now(), kind=kind, detail={**detail, "by": who}
    )
    strategy.refresh_from_db()
    record([strategy], by=by, reason=kind.replace("_", " "), is_new=kind == "created")
    body = strategy_body(strategy)
    transaction.on_commit(lambda: _announcer.tell(strategy.user_id, "strategy", body), robust=True)
    transaction.on_commit(_subscriptions.hint, robust=True)
    return strategy
