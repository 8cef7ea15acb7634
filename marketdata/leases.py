"""The rows that say who owns a user. Every change is conditional on what it starts from.

All times are the database's own, so the clocks of workers need not agree. All of it blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta

from django.db.models import F, Q
from django.db.models.functions import Now

from marketdata.domain.leasing import LeaseRecord, NotOwner
from marketdata.models import BrokerAccount, Lease
from marketdata.statements import Bound, Update

_HOLD = Update(Lease, change=["token"], where=["user", "token"])
_CHUNK = 200
"""Rows named in one statement: SQLite limits how deep a condition may be."""


def users_to_own() -> set[int]:
    """Return every user with an account: running or not, exits of theirs may be open."""
    return set(BrokerAccount.objects.values_list("user_id", flat=True).distinct())


def read(users: Collection[int], others: Collection[int] = ()) -> dict[int, LeaseRecord]:
    """Return the lease of each of ``users``, made where there was none, and those ``others`` have."""
    found = _read({*users, *others})
    if missing := [user for user in users if user not in found]:
        _add(missing)
        found |= _read(missing)
    return found


def peek(users: Collection[int]) -> dict[int, LeaseRecord]:
    """Return the leases that there are of these users, and make none: for whoever only looks on."""
    return _read(users)


def take(user_id: int, seen: LeaseRecord, worker: str, place: str, lease: timedelta) -> int | None:
    """Take a lease that is still as it was seen; return the new token, None when it is not."""
    changed = Lease.objects.filter(user_id=user_id, token=seen.token, expires_at=seen.expires_at)
    if seen.expires_at is None:
        changed = Lease.objects.filter(user_id=user_id, token=seen.token, expires_at__isnull=True)
    taken = changed.update(token=F("token") + 1, worker=worker, place=place, expires_at=Now() + lease)
    return seen.token + 1 if taken else None


def renew(tokens: Mapping[int, int], lease: timedelta) -> int:
    """Renew the leases that are still held with these tokens, by user; return how many.

    One that ran out is renewed too: with the same token, nobody has had it meanwhile.
    """
    renewed, mine = 0, list(tokens.items())
    for begin in range(0, len(mine), _CHUNK):
        condition = Q()
        for user_id, token in mine[begin : begin + _CHUNK]:
            condition |= Q(user_id=user_id, token=token)
        renewed += Lease.objects.filter(condition).update(expires_at=Now() + lease)
    return renewed


def give_back(user_id: int, token: int) -> None:
    """Let anybody take the lease at once, if it is still held with this token."""
    Lease.objects.filter(user_id=user_id, token=token).update(expires_at=None)


class LeaseFence:
    """Keeps a worker that has lost a user from writing what could lead to an order.

    Inside a transaction the lease stays as it was found until the commit: whoever wants to
    take over waits for it, and whoever was taken over from is refused.
    """

    def __init__(self, token: Callable[[int], int | None]) -> None:
        self._token = token

    def held(self, user_id: int) -> Sequence[Bound[int]]:
        """Return what holds the user's lease to the end of the transaction.

        Raises:
            NotOwner: It is not this worker's; also where the result is read.

        """
        token = self._token(user_id)
        if token is None:
            raise NotOwner(f"user {user_id} belongs to another worker, or to none")
        taken_over = NotOwner(f"user {user_id} has been taken over by another worker")
        return [_HOLD(token, user_id, token).or_fail(taken_over)]


def _read(users: Collection[int]) -> dict[int, LeaseRecord]:
    rows = Lease.objects.filter(user_id__in=users).annotate(read_at=Now())
    return {
        user: LeaseRecord(token, worker, place, expires_at, read_at)
        for user, token, worker, place, expires_at, read_at in rows.values_list(
            "user_id", "token", "worker", "place", "expires_at", "read_at"
        )
    }


def _add(users: Collection[int]) -> None:
    # One of them deleted at this moment fails them all: the next look does without that one.
    Lease.objects.bulk_create([Lease(user_id=user) for user in users], ignore_conflicts=True)
