"""The lease rows: conditional changes, and the fence inside a transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connection, transaction

from marketdata import leases
from marketdata.domain.leasing import NotOwner
from marketdata.models import BrokerAccount, Lease
from marketdata.statements import together

pytestmark = pytest.mark.django_db(transaction=True)
TEN_S = timedelta(seconds=10)


def take(user: User, worker: str = "w1", lease: timedelta = TEN_S) -> int:
    seen = leases.read([user.pk])[user.pk]
    token = leases.take(user.pk, seen, worker, "here", lease)
    assert token is not None
    return token


def test_a_lease_is_made_with_the_first_look(user: User) -> None:
    lease = leases.read([user.pk])[user.pk]
    assert (lease.token, lease.worker, lease.expires_at) == (0, "", None)
    assert lease.is_over
    assert leases.read([user.pk])[user.pk].token == 0
    assert Lease.objects.count() == 1


def test_users_with_an_account_are_to_be_owned(account: BrokerAccount) -> None:
    get_user_model().objects.create_user("onlooker")
    BrokerAccount.objects.create(user=account.user, broker="dhan", client_id="2")
    assert leases.users_to_own() == {account.user_id}


def test_every_take_raises_the_token(user: User) -> None:
    assert [take(user), take(user), take(user)] == [1, 2, 3]
    lease = leases.read([user.pk])[user.pk]
    assert (lease.token, lease.worker, lease.place) == (3, "w1", "here")
    assert lease.expires_at is not None
    assert timedelta(seconds=9) < lease.expires_at - lease.read_at <= TEN_S


def test_a_lease_that_changed_since_it_was_seen_is_not_taken(user: User) -> None:
    before = leases.read([user.pk])[user.pk]
    token = take(user)
    assert leases.take(user.pk, before, "w2", "here", TEN_S) is None
    seen = leases.read([user.pk])[user.pk]
    assert leases.renew({user.pk: token}, TEN_S) == 1
    assert leases.take(user.pk, seen, "w2", "here", TEN_S) is None  # it was renewed meanwhile
    leases.give_back(user.pk, token)
    assert leases.take(user.pk, seen, "w2", "here", TEN_S) is None
    assert take(user, "w2") == 2


def test_only_the_present_holder_renews(user: User) -> None:
    old = take(user, lease=timedelta(seconds=-1))
    assert leases.read([user.pk])[user.pk].is_over
    assert leases.renew({user.pk: old}, TEN_S) == 1  # it ran out, but nobody has had it since
    assert not leases.read([user.pk])[user.pk].is_over
    new = take(user, "w2")
    assert leases.renew({user.pk: old}, TEN_S) == 0
    leases.give_back(user.pk, old)
    assert not leases.read([user.pk])[user.pk].is_over
    assert leases.renew({user.pk: new}, TEN_S) == 1


def test_many_leases_are_renewed_together(db: None) -> None:
    users = [get_user_model().objects.create_user(f"u{n}").pk for n in range(450)]
    seen = leases.read(users)
    tokens = {user: leases.take(user, seen[user], "w", "here", TEN_S) or 0 for user in users}
    lost = users[7]
    leases.take(lost, leases.read([lost])[lost], "w2", "there", TEN_S)
    assert leases.renew(tokens, timedelta(hours=1)) == 449
    assert Lease.objects.filter(expires_at__gt=leases.read([lost])[lost].read_at + TEN_S).count() == 449


# --- the fence ----------------------------------------------------------------------------


def test_the_fence_lets_the_owner_pass_and_nobody_else(user: User) -> None:
    tokens = {user.pk: take(user)}
    fence = leases.LeaseFence(tokens.get)
    together(*fence.held(user.pk))
    with pytest.raises(NotOwner, match="none"):
        together(*fence.held(user.pk + 1))
    take(user, "w2")
    with pytest.raises(NotOwner, match="taken over"):
        together(*fence.held(user.pk))


@pytest.fixture
def other_thread() -> Iterator[list[threading.Thread]]:
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join(10)


@pytest.mark.only_postgres  # SQLite has one writer: nothing can overlap
def test_a_take_over_waits_for_what_the_owner_has_begun(
    user: User, other_thread: list[threading.Thread]
) -> None:
    token = take(user)
    fence = leases.LeaseFence({user.pk: token}.get)
    seen = leases.read([user.pk])[user.pk]
    taken: list[int | None] = []

    def take_over() -> None:
        try:
            taken.append(leases.take(user.pk, seen, "w2", "here", TEN_S))
        finally:
            connection.close()

    with transaction.atomic():
        together(*fence.held(user.pk))
        other_thread.append(threading.Thread(target=take_over))
        other_thread[0].start()
        other_thread[0].join(0.5)
        assert taken == []  # it waits
    other_thread[0].join(5)
    assert taken == [token + 1]
    with pytest.raises(NotOwner), transaction.atomic():
        together(*fence.held(user.pk))
