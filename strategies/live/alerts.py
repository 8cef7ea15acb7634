"""A user's alerts as the page shows them: what waits for an answer first, then what was lately over."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from strategies.alerts import named, subject
from strategies.live.texts import milliseconds
from strategies.live.words import BAD, BUSY, QUIET
from strategies.models import Alert
from strategies.telling import kind_words

_IST = ZoneInfo("Asia/Kolkata")
_OPEN_SHOWN = 100
_EARLIER_SHOWN = 5
_EARLIER = timedelta(hours=12)


def alert_rows(user_id: int, now: datetime) -> list[dict[str, Any]]:
    """Return the rows of one user's alerts. Blocks: two short queries."""
    own = named(Alert.objects.filter(user=user_id))
    is_open = {"closed_at": None, "acknowledged_at": None}
    waiting = own.filter(**is_open).order_by("-urgency", "-pk")[:_OPEN_SHOWN]  # "urgent" before "info"
    earlier = own.exclude(**is_open).filter(created_at__gte=now - _EARLIER).order_by("-pk")[:_EARLIER_SHOWN]
    return [_row(alert) for alert in (*waiting, *earlier)]


def _row(alert: Alert) -> dict[str, Any]:
    waits = alert.acknowledged_at is None and alert.closed_at is None
    is_urgent = alert.urgency == Alert.Urgency.URGENT
    return {
        "id": alert.pk,
        "title": subject(alert),
        "strategy": alert.strategy_id,
        "kind": kind_words(alert.kind),
        "mode": alert.mode,
        "text": alert.text,
        "at": milliseconds(alert.created_at),
        "urgent": is_urgent,
        "waits": waits,
        "tone": (BAD if is_urgent else BUSY) if waits else QUIET,
        "note": _note(alert),
    }


def _note(alert: Alert) -> str:
    if alert.acknowledged_at is not None:
        return f"Acknowledged at {_clock(alert.acknowledged_at)} by {alert.acknowledged_by or 'a user since removed'}"
    return f"Over since {_clock(alert.closed_at)}" if alert.closed_at is not None else ""


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(_IST):%H:%M:%S}"
