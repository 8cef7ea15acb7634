"""Reminds people in the morning of logins that their armed stops will need."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import QuerySet

from marketdata.domain.reminders import Reminder, due_reminder, is_login_missing
from marketdata.domain.sessions import Calendar
from marketdata.logins import is_refused, moment_text
from marketdata.models import BrokerAccount
from strategies.alerts import announce, close_open, commit_alert
from strategies.announcing import Announcer
from strategies.models import Alert, Strategy

KIND = "login_due"
_NEVER, _UNKNOWN = float("-inf"), float("inf")


class LoginReminders:
    """Blocks. That a reminder was sent is known from its row, so another worker does not send it again."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer

    def look(self, users: Collection[int], now: datetime, calendar: Calendar) -> None:
        """Send what is due for the accounts of these users, and end what is over."""
        exchanges = _exchanges(users)
        self._end(users, exchanges, now, calendar)
        if calendar.always:
            return
        # Whether one is due at all without a login: the accounts' credentials are read for nothing else.
        asked = [pk for pk in exchanges if due_reminder(now.timestamp(), _NEVER, exchanges[pk], calendar)]
        for account in _accounts(asked):
            until = valid_until(account)
            reminder = due_reminder(now.timestamp(), until, exchanges[account.pk], calendar)
            if reminder is not None and not _is_sent(account, reminder):
                self._send(account, until, reminder, now)

    def _end(
        self,
        users: Collection[int],
        exchanges: Mapping[int, Collection[str]],
        now: datetime,
        calendar: Calendar,
    ) -> None:
        rows = Alert.objects.filter(kind=KIND, user__in=users, closed_at=None)
        for account in _accounts(rows.values("account")):
            needed = exchanges.get(account.pk, ())
            if not is_login_missing(now.timestamp(), valid_until(account), needed, calendar):
                close_open(now, (KIND,), account=account.pk)

    def _send(self, account: BrokerAccount, until: float, reminder: Reminder, now: datetime) -> None:
        urgency = Alert.Urgency.INFO if reminder.is_first else Alert.Urgency.URGENT
        with transaction.atomic():
            close_open(now, (KIND,), account=account.pk)  # said again, more loudly
            alert = commit_alert(
                user_id=account.user_id,
                kind=KIND,
                text=_text(account, until, now),
                at=now,
                account_id=account.pk,
                urgency=urgency,
                cause=str(reminder.at),
            )
            if alert is not None:
                announce(alert, self._announcer)


def valid_until(account: BrokerAccount) -> float:
    """Return until when the login works, UNIX time; ``inf`` where nobody knows."""
    try:
        has_token = bool(account.access_token)
    except ImproperlyConfigured:
        has_token = False
    if not has_token or is_refused(account):
        return _NEVER
    return _UNKNOWN if account.token_expires_at is None else account.token_expires_at.timestamp()


def _exchanges(users: Collection[int]) -> dict[int, set[str]]:
    """Return by account where it has armed stops or exits under way."""
    under_way = (Strategy.Status.ACTIVE, Strategy.Status.EXITING)
    rows = Strategy.objects.filter(user__in=users, status__in=under_way)
    rows = rows.exclude(position=Strategy.Position.NONE)
    found: dict[int, set[str]] = {}
    for account_id, exchange in rows.values_list("account_id", "instrument__exchange").distinct():
        found.setdefault(account_id, set()).add(exchange)
    return found


def _is_sent(account: BrokerAccount, reminder: Reminder) -> bool:
    since = datetime.fromtimestamp(reminder.at, UTC)
    return Alert.objects.filter(kind=KIND, account=account, created_at__gte=since).exists()


def _accounts(pks: Any) -> QuerySet[BrokerAccount]:
    """Return accounts whose credentials are read when they are asked for: some may not be readable."""
    return BrokerAccount.objects.filter(pk__in=pks).without_secrets().order_by("pk")


def _text(account: BrokerAccount, until: float, now: datetime) -> str:
    ends = datetime.fromtimestamp(until, UTC) if until > now.timestamp() else None
    state = "is not logged in" if ends is None else f"is logged in only until {moment_text(ends, now)}"
    return (
        f"{account} {state}, and its stops need {account.get_broker_display()} all through today's session. "
        f"Log in now: open Tickguard's live page, and Log in at the listener of {account}."
    )
