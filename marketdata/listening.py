"""Start, stop and restart the listeners of accounts.

What is written here is a wish. Whoever runs the listeners looks every two seconds, so no process
has to be reached, and a hint that is lost costs two seconds. Synchronous; every caller (admin,
command, API) checks permissions itself.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from marketdata.hints import hint
from marketdata.history import Who, record
from marketdata.models import BrokerAccount, ListenerEvent, Subscription
from marketdata.subscriptions import STRATEGY

RUNNING, STOPPED = BrokerAccount.DesiredState.RUNNING, BrokerAccount.DesiredState.STOPPED


class UnknownAccount(LookupError):
    """There is no such account; nothing was changed."""


class StillWatching(Exception):
    """Strategies would lose their watch, and nobody has said that they may; nothing was changed."""


def start_listening(account_ids: Collection[int], *, by: Who) -> list[BrokerAccount]:
    """Have listeners run; those that run already go on as they are.

    Args:
        account_ids: Which accounts.
        by: Who asks, for the record: a user, or a name where there is none.

    Raises:
        UnknownAccount: One of them does not exist.

    """
    return _ask(account_ids, "start_asked", by, desired_state=RUNNING)


def restart_listening(account_ids: Collection[int], *, by: Who) -> list[BrokerAccount]:
    """Have listeners drop their connection and make a new one; one that is stopped is started.

    Raises:
        UnknownAccount: One of them does not exist.

    """
    return _ask(account_ids, "restart_asked", by, desired_state=RUNNING, generation=F("generation") + 1)


def stop_listening(
    account_ids: Collection[int], *, by: Who, even_watching: bool = False
) -> list[BrokerAccount]:
    """Have listeners end. Exits that have begun go on; stops are not watched any more.

    Args:
        account_ids: Which accounts.
        by: Who asks, for the record: a user, or a name where there is none.
        even_watching: A person knows that strategies lose their watch.

    Raises:
        StillWatching: Strategies are watched through them; the text says how many.
        UnknownAccount: One of them does not exist.

    """
    with transaction.atomic():
        if not even_watching and (lost := what_is_lost(account_ids)):
            raise StillWatching(lost)
        return _ask(account_ids, "stop_asked", by, desired_state=STOPPED)


def what_is_lost(account_ids: Collection[int]) -> str:
    """Say how many strategies lose their watch when these listeners stop; empty when none does."""
    rows = Subscription.objects.filter(
        account__in=account_ids, account__desired_state=RUNNING, holder__startswith=STRATEGY
    )
    count = rows.values("holder").distinct().count()
    if not count:
        return ""
    names = ", ".join(map(str, _accounts(set(rows.values_list("account_id", flat=True)))))
    watched, stops = (
        ("strategy is", "its stop cannot") if count == 1 else ("strategies are", "none of their stops can")
    )
    return (
        f"{count} {watched} watched through {names}. While stopped, {stops} trigger, whatever the price does."
    )


def keep_running(account_ids: Collection[int], *, by: Who, reason: str) -> None:
    """Start those of these listeners that are stopped, for something has to be watched from now on.

    The caller holds the transaction, and hints after it.
    """
    stopped = BrokerAccount.objects.filter(pk__in=account_ids, desired_state=STOPPED)
    if pks := list(stopped.values_list("pk", flat=True)):
        BrokerAccount.objects.filter(pk__in=pks).update(desired_state=RUNNING)
        record(_accounts(pks), by=by, reason=reason)


def _ask(account_ids: Collection[int], kind: str, by: Who, **columns: Any) -> list[BrokerAccount]:
    with transaction.atomic():
        BrokerAccount.objects.filter(pk__in=account_ids).update(**columns)
        accounts = _accounts(account_ids)
        at = timezone.now()
        ListenerEvent.objects.bulk_create(
            ListenerEvent(account=account, at=at, kind=kind, detail={"by": str(by or "")})
            for account in accounts
        )
        record(accounts, by=by, reason=kind.replace("_", " "))
        transaction.on_commit(hint, robust=True)
    return accounts


def _accounts(account_ids: Collection[int]) -> list[BrokerAccount]:
    """Return the rows without credentials: those that cannot be read must not keep a listener running."""
    rows = BrokerAccount.objects.without_secrets().filter(pk__in=account_ids)
    found = list(rows.order_by("pk"))
    if missing := sorted(set(account_ids) - {row.pk for row in found}):
        raise UnknownAccount(f"There is no account {', '.join(map(str, missing))}: nothing was changed.")
    return found
