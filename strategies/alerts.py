"""Alerts: what a person has to be told, in the same transaction as the change that it tells of.

Only the database is used here. ``notifying`` finds what was committed and hands it to every
channel, again and again where nobody answers; ``announce`` saves it the wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.contrib.auth.models import AbstractBaseUser
from django.db import models, transaction
from django.utils import timezone

from marketdata.models import BrokerAccount
from strategies.announcing import Announcer, LayerAnnouncer
from strategies.models import Alert, Strategy
from strategies.switches import mode_of

M = TypeVar("M", bound=models.Model)
_PRICES = ("entry_price", "stop_loss", "sl_trigger_price", "instrument__tick_size", "instrument__strike")
_announcer = LayerAnnouncer()

AGAIN_AFTER = timedelta(hours=1)
"""The same news (``info``) after this is news again."""


def commit_alert(
    *,
    user_id: int,
    kind: str,
    text: str,
    at: datetime,
    strategy_id: int | None = None,
    exit_id: int | None = None,
    account_id: int | None = None,
    urgency: str = Alert.Urgency.URGENT,
    cause: str = "",
) -> Alert | None:
    """Insert an alert; the caller holds the transaction, and announces it.

    Args:
        user_id: Whom to tell.
        kind: A short code: ``needs_human unknown overfill aborted feeds_disagree budget done``.
        text: What happened, for a trader; never a credential. "Sold" only after a fill.
        at: Now.
        strategy_id: The strategy it is about; its account is the alert's.
        exit_id: The exit it is about; ``close_alerts`` ends it with its cause.
        account_id: The account it is about, where there is no strategy.
        urgency: ``urgent`` is repeated until acknowledged or closed, ``info`` told once.
        cause: What makes it the same as another, where its words may differ; without it, they do.

    Returns:
        The alert; None when the same is open already.

    """
    cause = cause_of(kind, cause or text, strategy_id=strategy_id, exit_id=exit_id, account_id=account_id)
    if urgency == Alert.Urgency.INFO:
        same = Alert.objects.filter(user=user_id, cause=cause, closed_at=None)
        same.filter(created_at__lt=at - AGAIN_AFTER).update(closed_at=at, due_at=None)
    strategy, account = _subject(strategy_id, account_id)
    alert, is_new = Alert.objects.get_or_create(
        user_id=user_id,
        cause=cause,
        closed_at=None,
        defaults={
            "account": account,
            "strategy": strategy,
            "exit_id": exit_id,
            "kind": kind,
            "urgency": urgency,
            "mode": mode_of(account, strategy) if account else "",
            "text": text,
            "created_at": at,
            "due_at": at,
        },
    )
    return alert if is_new else None


def close_alerts(exit_id: int, at: datetime, kinds: Collection[str] | None = None) -> int:
    """Say that the cause of an exit's alerts (of these kinds; None: any) is over; return how many."""
    return close_open(at, kinds, exit=exit_id)


def close_open(at: datetime, kinds: Collection[str] | None = None, **of: Any) -> int:
    """Close the open alerts that match; return how many."""
    rows = Alert.objects.filter(closed_at=None, **of)
    if kinds is not None:
        rows = rows.filter(kind__in=kinds)
    return rows.update(closed_at=at, due_at=None)


def acknowledge(alert: Alert, by: AbstractBaseUser) -> bool:
    """Take note that a person has seen an alert; False when somebody had already.

    The cause of urgent ones is over when the machine says so; news are over once they are read.
    """
    now = timezone.now()
    over = {} if alert.urgency == Alert.Urgency.URGENT else {"closed_at": now}
    unseen = Alert.objects.filter(pk=alert.pk, acknowledged_at=None)
    if not unseen.update(acknowledged_at=now, acknowledged_by=by, due_at=None, **over):
        return False
    body = {"id": alert.pk, "acknowledged": True}
    transaction.on_commit(lambda: _announcer.tell(alert.user_id, "alert", body), robust=True)
    return True


def announce(alert: Alert, announcer: Announcer) -> None:
    """Tell of an alert once the transaction it is part of has committed."""
    body = alert_body(alert)
    transaction.on_commit(lambda: announcer.tell(alert.user_id, "alert", body), robust=True)


def cause_of(
    kind: str,
    words: str,
    *,
    strategy_id: int | None = None,
    exit_id: int | None = None,
    account_id: int | None = None,
) -> str:
    """Return ``Alert.cause``: the same for alerts of which a user needs only one."""
    parts = (kind, strategy_id, exit_id, account_id, words)
    return hashlib.sha256("\0".join(map(repr, parts)).encode()).hexdigest()


def alert_body(alert: Alert) -> dict[str, Any]:
    """Return an alert as pages are told of it; ``id`` and ``repeat`` tell one telling from another."""
    return {
        "id": alert.pk,
        "repeat": alert.repeats,
        "kind": alert.kind,
        "urgency": alert.urgency,
        "mode": alert.mode,
        "account": alert.account_id,
        "strategy": alert.strategy_id,
        "exit": alert.exit_id,
        "symbol": alert.strategy.symbol if alert.strategy else "",
        "name": subject(alert),
        "text": alert.text,
        "at": alert.created_at.timestamp(),
    }


def named(rows: models.QuerySet[M], path: str = "") -> models.QuerySet[M]:
    """Return ``rows`` with what their alerts are about; ``path`` leads from a row to its alert.

    No price is read: one that cannot be must not keep its owner from being told.
    """
    of = [f"{path}{name}" for name in ("user", "account", "acknowledged_by", "strategy__instrument")]
    return rows.select_related(*of).defer(*(f"{path}strategy__{name}" for name in _PRICES))


def subject(alert: Alert) -> str:
    """Return what an alert is about: its strategy, else its account, else nothing."""
    return str(alert.strategy or alert.account or "")


def _subject(strategy_id: int | None, account_id: int | None) -> tuple[Strategy | None, BrokerAccount | None]:
    if strategy_id is not None:
        strategy = Strategy.objects.select_related("account", "instrument").get(pk=strategy_id)
        return strategy, strategy.account
    return None, None if account_id is None else BrokerAccount.objects.get(pk=account_id)
