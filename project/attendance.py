"""Whether anybody works for each user: looked at by the web process, for a dead process tells nothing.

Leases are the evidence. One that has run out was not renewed for ten seconds, and nobody else has
taken it over; one that was given back is a listeners' process that ended in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from marketdata import leases
from marketdata.domain.leasing import LeaseRecord, Terms
from marketdata.domain.sessions import IST, Calendar
from marketdata.models import BrokerAccount, Subscription
from marketdata.wanted import read_calendar
from project.vigil import is_watch_time
from strategies.lasting import Trouble
from strategies.models import Alert, Strategy

GRACE_S = 10.0
"""For a listeners' process that ended in order to be followed by another: a deployment."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A user whose accounts are to run. ``exchanges``: by strategy with a stop or an exit, where it trades."""

    user_id: int
    exchanges: Mapping[int, str]


class Attendance:
    """Remembers since when nobody has worked for a user."""

    def __init__(self, *, always: bool) -> None:
        self._always = always
        self._since: dict[int, float] = {}

    def look(self, now: datetime, monotonic: float) -> list[Trouble]:
        """Return a trouble for each user nobody works for. Blocks."""
        waiting = list(_waiting())
        held = leases.peek([one.user_id for one in waiting])
        absent = [one for one in waiting if not _is_held(held.get(one.user_id))]
        self._since = {one.user_id: self._since.get(one.user_id, monotonic) for one in absent}
        due = [one for one in absent if self._is_due(one.user_id, held.get(one.user_id), monotonic)]
        if not due:
            return []
        calendar = read_calendar(always=self._always)
        return [_trouble(one, held.get(one.user_id), now, calendar) for one in due]

    def _is_due(self, user_id: int, lease: LeaseRecord | None, monotonic: float) -> bool:
        """One that ran out has been silent for long enough by then."""
        has_run_out = lease is not None and lease.expires_at is not None
        return has_run_out or monotonic - self._since[user_id] >= GRACE_S


def _waiting() -> Iterable[Waiting]:
    running = Subscription.objects.filter(account__desired_state=BrokerAccount.DesiredState.RUNNING)
    users = set(running.values_list("account__user_id", flat=True).distinct())
    under_way = (Strategy.Status.ACTIVE, Strategy.Status.EXITING)
    rows = Strategy.objects.filter(status__in=under_way).exclude(position=Strategy.Position.NONE)
    exchanges: dict[int, dict[int, str]] = {user: {} for user in users}
    for pk, user, exchange in rows.values_list("pk", "user_id", "instrument__exchange"):
        exchanges.setdefault(user, {})[pk] = exchange
    return (Waiting(user, of) for user, of in exchanges.items())


def _is_held(lease: LeaseRecord | None) -> bool:
    return lease is not None and lease.expires_at is not None and lease.expires_at > lease.read_at


def _trouble(one: Waiting, lease: LeaseRecord | None, now: datetime, calendar: Calendar) -> Trouble:
    is_urgent = any(is_watch_time(it, now.timestamp(), calendar) for it in set(one.exchanges.values()))
    return Trouble(
        one.user_id,
        "no listeners",
        _text(len(one.exchanges), lease),
        urgency=Alert.Urgency.URGENT if is_urgent else Alert.Urgency.INFO,
        strategies=frozenset(one.exchanges),
    )


def _text(stops: int, lease: LeaseRecord | None) -> str:
    if lease is not None and lease.expires_at is not None:
        heard = datetime.fromtimestamp(lease.expires_at.timestamp() - Terms().lease_s, UTC).astimezone(IST)
        what = f"The listeners have died: {lease.worker} was last heard of at {heard:%H:%M:%S} IST."
    else:
        what = "The listeners do not run."
    watched = {0: "No price arrives.", 1: "Nothing watches your stop."}.get(
        stops, f"Nothing watches your {stops} stops."
    )
    return (
        f"{what} {watched} Have run_listeners started on the server; until it runs, look at your positions at your "
        "broker."
    )
