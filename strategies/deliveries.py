"""What still has to be told through which channel: a queue in the database.

All of it blocks: call it from the notifier's own thread. Transactions are short and nothing is
sent inside one. A delivery is claimed before it is made, so several processes share the work;
one that dies in between leaves a claim that runs out, and the alert is told once more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, QuerySet

from strategies.alerts import alert_body, named
from strategies.models import Alert, AlertDelivery
from strategies.telling import Telling

CLAIM = timedelta(seconds=30)
"""How long whoever took a delivery may need for it."""
AT_ONCE = 200
"""Alerts in one message: more of them wait for the next."""
RETRY_MAX_S = 60
_GAPS = (timedelta(seconds=15), timedelta(seconds=45))
_GAP = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A channel, and what it is told: everything, or what is one user's."""

    name: str
    user_id: int | None = None
    urgent_only: bool = False

    def takes(self, alert: Alert) -> bool:
        """Tell whether an alert is for this channel."""
        is_theirs = self.user_id is None or self.user_id == alert.user_id
        return is_theirs and (alert.urgency == Alert.Urgency.URGENT or not self.urgent_only)


def take(
    channels: Collection[Recipient], idle: Collection[str], now: datetime
) -> Mapping[str, list[Telling]]:
    """Claim what is due and return it by channel.

    Args:
        channels: All there are: each is owed every alert that is for it.
        idle: Those that can be told something now.
        now: The time.

    """
    if not _due_alerts(now).exists() and not _due_deliveries(idle, now).exists():
        return {}
    with transaction.atomic():
        _begin_rounds(channels, now)
        return _claim(idle, now)


def release(users: Collection[int], now: datetime) -> None:
    """Have what is owed to these users tried now: whoever claimed it is gone, or not theirs any more."""
    AlertDelivery.objects.filter(alert__user__in=users, next_at__gt=now).update(next_at=now)


def record(tellings: Sequence[Telling], error: str, now: datetime) -> None:
    """Write how it went: told, or (``error``) to be tried again, ever more slowly."""
    rows = AlertDelivery.objects.filter(pk__in=[telling.delivery_id for telling in tellings])
    with transaction.atomic():
        if not error:
            rows.update(next_at=None, delivered_at=now, failures=0, error="")
            return
        for failures in set(rows.values_list("failures", flat=True)):
            pause = timedelta(seconds=min(2**failures, RETRY_MAX_S))
            rows.filter(failures=failures, next_at__isnull=False).update(
                next_at=now + pause, failures=failures + 1, error=error
            )


def _due_alerts(now: datetime) -> QuerySet[Alert]:
    return Alert.objects.filter(due_at__lte=now, closed_at=None, acknowledged_at=None)


def _due_deliveries(idle: Collection[str], now: datetime) -> QuerySet[AlertDelivery]:
    """What has been acknowledged or is over needs no telling any more."""
    return AlertDelivery.objects.filter(
        channel__in=idle, next_at__lte=now, alert__closed_at=None, alert__acknowledged_at=None
    )


def _begin_rounds(channels: Collection[Recipient], now: datetime) -> None:
    """Owe every due alert to every channel that it is for, and settle when it is due again."""
    alerts = list(_due_alerts(now).select_for_update(skip_locked=True).order_by("pk")[:AT_ONCE])
    for alert in alerts:
        alert.repeats += alert.last_told_at is not None
        alert.last_told_at = now
        alert.due_at = now + _gap(alert.repeats) if alert.urgency == Alert.Urgency.URGENT else None
    Alert.objects.bulk_update(alerts, ("repeats", "last_told_at", "due_at"))
    AlertDelivery.objects.bulk_create(
        [
            AlertDelivery(alert=alert, channel=channel.name)
            for alert in alerts
            for channel in channels
            if channel.takes(alert)
        ],
        ignore_conflicts=True,
    )
    names = [channel.name for channel in channels]
    AlertDelivery.objects.filter(alert__in=alerts, channel__in=names).update(next_at=now)


def _gap(repeats: int) -> timedelta:
    return _GAPS[repeats] if repeats < len(_GAPS) else _GAP


def _claim(idle: Collection[str], now: datetime) -> Mapping[str, list[Telling]]:
    due = _due_deliveries(idle, now).order_by().values_list("channel", flat=True).distinct()
    taken = {channel: [_telling(row) for row in _next_of(channel, now)] for channel in list(due)}
    claimed = [telling.delivery_id for tellings in taken.values() for telling in tellings]
    AlertDelivery.objects.filter(pk__in=claimed).update(attempts=F("attempts") + 1, next_at=now + CLAIM)
    return {channel: tellings for channel, tellings in taken.items() if tellings}


def _next_of(channel: str, now: datetime) -> QuerySet[AlertDelivery]:
    """What is urgent goes first (it sorts after "info"), then what is older."""
    due = _due_deliveries([channel], now).select_for_update(of=("self",), skip_locked=True)
    return named(due, "alert__").order_by("-alert__urgency", "alert_id")[:AT_ONCE]


def _telling(row: AlertDelivery) -> Telling:
    user = row.alert.user
    return Telling(user.pk, user.get_username(), alert_body(row.alert), row.pk)
