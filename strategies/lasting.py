"""Alerts that last as long as what they tell of: one for each cause, closed with it.

What is wrong is looked at again and again, so the same trouble is met many times: only what has
changed is written. All of it blocks; one instance belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from strategies.alerts import cause_of, close_open, commit_alert
from strategies.models import Alert

Key = tuple[int, str]
"""A user, and what makes an alert the same as another."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong for one user now.

    Attributes:
        user_id: Whom to tell.
        cause: What makes it the same trouble, however its words change.
        text: What to say.
        account_id: The account it is about, if it is about one.
        urgency: As an alert's; it may rise and fall while the trouble lasts.
        strategies: Those it concerns: another one is told of even where the others are acknowledged.

    """

    user_id: int
    cause: str
    text: str
    account_id: int | None = None
    urgency: str = Alert.Urgency.URGENT
    strategies: frozenset[int] = frozenset()


class LastingAlerts:
    """Keeps the alerts of one kind in step with the troubles there are."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._known: dict[Key, Trouble] = {}

    def keep(
        self,
        troubles: Iterable[Trouble],
        users: Collection[int] | None,
        at: datetime,
        *,
        not_over: Collection[Trouble] = (),
    ) -> list[Alert]:
        """Write what has changed, and return the new alerts, to be announced now that they are committed.

        Args:
            troubles: All there are.
            users: Whose alerts are this process's to close; None: everybody's.
            at: Now.
            not_over: Too young to be told of; an alert that is open already stays so.

        """
        now = {self._key(trouble): trouble for trouble in troubles}
        changed = [trouble for key, trouble in now.items() if self._known.get(key) != trouble]
        lasting = now.keys() | {self._key(trouble) for trouble in not_over}
        ended = [pk for pk, *key in self._open(users) if tuple(key) not in lasting]
        new: list[Alert] = []
        if changed or ended:
            with transaction.atomic():
                new = [alert for trouble in changed if (alert := self._tell(trouble, at))]
                close_open(at, pk__in=ended)
        self._known = now
        return new

    # --- inside ---------------------------------------------------------------------------

    def _key(self, trouble: Trouble) -> Key:
        return trouble.user_id, self._cause(trouble)

    def _cause(self, trouble: Trouble) -> str:
        return cause_of(self._kind, trouble.cause, account_id=trouble.account_id)

    def _open(self, users: Collection[int] | None) -> Iterable[tuple[int, int, str]]:
        rows = Alert.objects.filter(kind=self._kind, closed_at=None)
        rows = rows if users is None else rows.filter(user__in=users)
        return rows.values_list("pk", "user_id", "cause")

    def _tell(self, trouble: Trouble, at: datetime) -> Alert | None:
        user_id, cause = self._key(trouble)
        row = Alert.objects.filter(user=user_id, cause=cause, closed_at=None).first()
        if row is not None:
            self._change(row, trouble, at)
            return None
        return commit_alert(
            user_id=user_id,
            kind=self._kind,
            text=trouble.text,
            at=at,
            account_id=trouble.account_id,
            urgency=trouble.urgency,
            cause=trouble.cause,
        )

    def _change(self, row: Alert, trouble: Trouble, at: datetime) -> None:
        before = self._known.get(self._key(trouble))
        is_urgent = trouble.urgency == Alert.Urgency.URGENT
        has_more = before is not None and not trouble.strategies <= before.strategies
        if is_urgent and (row.urgency != trouble.urgency or (has_more and row.acknowledged_at)):
            row.acknowledged_at, row.acknowledged_by, row.due_at = None, None, at
        elif not is_urgent:
            row.due_at = None
        row.text, row.urgency = trouble.text, trouble.urgency
        row.save(update_fields=["text", "urgency", "acknowledged_at", "acknowledged_by", "due_at"])
