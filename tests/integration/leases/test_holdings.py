"""Taking, keeping, losing and giving back users, beside other workers that live, sleep or die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from marketdata import leases
from marketdata.holdings import Holdings
from marketdata.models import BrokerAccount, Lease
from marketdata.processlock import ProcessLock
from marketdata.sessionlocks import session_locks
from tests.support.leasing import PATIENT, QUICK, holdings
from tests.support.processes import Process, python
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("account")]

Other = Callable[..., Process]


@pytest.fixture
def mine(lock_dir: Path) -> Iterator[Holdings]:
    built = holdings(lock_dir, "mine")
    yield built
    built.close()


@pytest.fixture
def other(lock_dir: Path) -> Iterator[Other]:
    """Return a function that starts a process which owns whom it can, and says so."""
    with ExitStack() as stack:

        def start(folder: Path = lock_dir) -> Process:
            return stack.enter_context(python("-m", "tests.support.owner", str(folder)))

        yield start


def owner() -> str:
    return Lease.objects.get().worker


def looked(workers: Sequence[Holdings], seconds: float) -> dict[int, str]:
    """Have workers look for so long; return the last one's last answer."""
    deadline, seen = time.monotonic() + seconds, dict[int, str]()
    while time.monotonic() < deadline:
        for worker in workers:
            seen = worker.look()
        time.sleep(QUICK.look_s)
    return seen


def test_the_first_one_owns_and_the_second_waits(mine: Holdings, lock_dir: Path, user: User) -> None:
    second = holdings(lock_dir, "second")
    mine.look()
    looked([mine, second], QUICK.lease_s * 2)
    assert mine.users == {user.pk}
    assert mine.token(user.pk) == 1
    assert second.users == frozenset()
    assert second.token(user.pk) is None
    assert Lease.objects.get().expires_at is not None
    second.close()


def test_given_back_it_is_taken_at_once(mine: Holdings, lock_dir: Path, user: User) -> None:
    second = holdings(lock_dir, "second")
    mine.look()
    mine.close()
    assert mine.users == frozenset()
    second.look()
    assert second.token(user.pk) == 2
    second.close()


def test_one_that_retires_keeps_what_it_has_and_takes_nothing(mine: Holdings, user: User) -> None:
    mine.look(may_take=False)
    assert mine.users == frozenset()
    mine.look()
    mine.look(may_take=False)
    assert mine.users == {user.pk}


def test_a_killed_owner_is_followed_at_once(mine: Holdings, other: Other, user: User) -> None:
    process = other()
    process.wait_for("owns 1")
    mine.look()
    assert mine.users == frozenset()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    Lease.objects.update(expires_at=timezone.now() + timedelta(minutes=10))  # it is not waited for
    eventually(lambda: mine.look() == {} and mine.users == {user.pk}, 20)
    assert owner() == "mine"
    assert mine.token(user.pk) == 2


def test_a_stopped_owner_is_killed_first(mine: Holdings, other: Other, user: User) -> None:
    process = other()
    process.wait_for("owns 1")
    mine.look()
    process.send(signal.SIGSTOP)
    eventually(lambda: mine.look() == {} and mine.users == {user.pk}, 10)
    assert process.wait() == -signal.SIGKILL
    assert mine.token(user.pk) == 2


def test_an_owner_that_keeps_renewing_is_never_killed(mine: Holdings, other: Other) -> None:
    process = other()
    process.wait_for("owns 1")
    looked([mine], QUICK.lease_s * 2)
    assert mine.users == frozenset()
    assert process.returncode is None


def test_one_pause_of_the_watcher_kills_nobody(mine: Holdings, other: Other) -> None:
    """All stand still and all wake up: whoever looks first must not take the others for silent."""
    process = other()
    process.wait_for("owns 1")
    mine.look()
    process.send(signal.SIGSTOP)
    time.sleep(QUICK.lease_s * 1.5)  # this one looks no more either
    assert mine.look() == {}
    process.send(signal.SIGCONT)
    looked([mine], QUICK.lease_s)
    assert process.returncode is None
    assert owner() == "other"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere"
    path.mkdir()
    return path


def test_an_owner_under_another_directory_is_left_its_lease(
    mine: Holdings, other: Other, elsewhere: Path, user: User
) -> None:
    """A free lock proves nothing about one who locks elsewhere."""
    process = other(elsewhere)
    process.wait_for("owns 1")
    looked([mine], QUICK.lease_s * 2)
    assert mine.users == frozenset()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = leases.read([user.pk])[user.pk]
    eventually(lambda: mine.look() == {} and mine.users == {user.pk}, 20)
    assert left.expires_at is not None
    assert leases.read([user.pk])[user.pk].read_at >= left.expires_at


@pytest.mark.only_postgres
def test_one_that_sleeps_elsewhere_is_not_followed_but_told(
    mine: Holdings, other: Other, elsewhere: Path, user: User
) -> None:
    process = other(elsewhere)
    process.wait_for("owns 1")
    process.send(signal.SIGSTOP)
    text = eventually(lambda: mine.look().get(user.pk, ""), 10)
    assert "Your stops are not watched: worker other" in text
    assert mine.users == frozenset()
    assert process.returncode is None
    process.send(signal.SIGCONT)
    eventually(lambda: mine.look() == {}, 5)
    assert owner() == "other"


def test_one_that_cannot_be_named_is_told_and_left(mine: Holdings, other: Other, user: User) -> None:
    process = other()
    process.wait_for("owns 1")
    [lock] = list(Path(process.command[-1]).glob("user-*.lock"))
    lock.write_text("nobody in particular\n")
    process.send(signal.SIGSTOP)
    text = eventually(lambda: mine.look().get(user.pk, ""), 10)
    assert "gone silent" in text
    assert mine.users == frozenset()
    assert process.returncode is None
    process.send(signal.SIGCONT)


def test_taken_over_from_it_keeps_the_lock_until_its_work_has_ended(
    mine: Holdings, lock_dir: Path, user: User
) -> None:
    mine.look()
    Lease.objects.update(token=9, worker="thief")
    mine.look()
    assert mine.users == frozenset()
    assert mine.leaving == {user.pk}
    second = holdings(lock_dir, "second")
    looked([second], 0.2)
    assert second.users == frozenset()
    mine.give_up([user.pk])
    assert Lease.objects.get().expires_at is not None  # it is the other's to give back
    # The one that gave up lives, and was asked first.
    eventually(lambda: second.look() == {} and second.token(user.pk) == 10, 5)
    second.close()


def test_a_removed_lock_file_is_made_and_locked_again(mine: Holdings, lock_dir: Path, user: User) -> None:
    mine.look()
    path = lock_dir / f"user-{user.pk}.lock"
    path.unlink()
    mine.look()
    assert path.exists()
    assert mine.token(user.pk) == 1


def test_a_removed_lock_file_that_another_has_locked_is_lost(
    mine: Holdings, lock_dir: Path, user: User
) -> None:
    mine.look()
    path = lock_dir / f"user-{user.pk}.lock"
    path.unlink()
    thief = ProcessLock(path)
    thief.acquire()
    mine.look()
    assert mine.users == frozenset()
    assert mine.leaving == {user.pk}
    thief.release()


def test_a_user_whose_accounts_are_gone_is_owned_by_nobody(mine: Holdings, user: User) -> None:
    mine.look()
    gone = user.pk
    BrokerAccount.objects.all().delete()
    user.delete()
    mine.look()
    assert mine.users == frozenset()
    assert mine.leaving == {gone}


# --- sharing ------------------------------------------------------------------------------


@pytest.fixture
def traders(user: User) -> set[int]:
    """Return nine users with an account each, ``user`` among them."""
    added = [User.objects.create_user(f"trader-{number}") for number in range(8)]
    for number, one in enumerate(added):
        BrokerAccount.objects.create(user=one, broker="zerodha", client_id=f"T{number}")
    return {user.pk, *(one.pk for one in added)}


def start_together(lock_dir: Path, *names: str) -> list[Holdings]:
    """Return workers of whom each has seen the others, and nobody has taken anybody yet."""
    workers = [holdings(lock_dir, name, PATIENT) for name in names]
    for worker in workers:
        worker.look(may_take=False)
    time.sleep(QUICK.renew_s)
    for worker in workers:
        worker.look(may_take=False)
    return workers


def test_workers_that_start_together_take_a_share_each(lock_dir: Path, traders: set[int]) -> None:
    workers = start_together(lock_dir, "a", "b", "c")
    looked(workers, QUICK.look_s)
    assert [len(worker.users) for worker in workers] == [3, 3, 3]
    assert set().union(*(worker.users for worker in workers)) == traders
    for worker in workers:
        worker.close()


def test_what_a_dead_worker_had_is_shared_by_the_others_at_once(
    other: Other, lock_dir: Path, traders: set[int]
) -> None:
    process = other()
    process.wait_for("owns 9")
    workers = start_together(lock_dir, "a", "b")
    looked(workers, QUICK.look_s)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    looked(workers, QUICK.look_s)
    assert sorted(len(worker.users) for worker in workers) == [4, 5]
    for worker in workers:
        worker.close()


def test_what_another_should_take_and_does_not_is_taken_after_a_while(
    mine: Holdings, lock_dir: Path, traders: set[int]
) -> None:
    [_, stuck] = start_together(lock_dir, "b", "stuck")  # and ``mine`` waits for them a second

    def look() -> bool:
        stuck.look(may_take=False)  # it lives, and takes nobody
        mine.look()
        return mine.users == traders

    look()
    assert mine.users != traders
    eventually(look, 10)
    stuck.close()


def test_too_many_is_a_surplus_once_it_has_lasted(lock_dir: Path, traders: set[int]) -> None:
    mine = holdings(lock_dir, "mine", PATIENT)
    mine.look()
    second = holdings(lock_dir, "second", PATIENT)
    looked([second, mine], PATIENT.settle_s / 4)
    assert mine.surplus == 0
    eventually(lambda: looked([second, mine], PATIENT.look_s) == {} and mine.surplus, 20)
    assert (mine.surplus, second.surplus) == (4, 0)
    given = sorted(mine.users)[:4]
    mine.give_up(given)
    looked([mine, second], PATIENT.look_s)  # it sees them free first, and leaves them to the other
    assert second.users == set(given)
    assert (mine.surplus, second.surplus) == (0, 0)
    mine.close()
    second.close()


def test_one_that_has_only_just_locked_is_not_taken_for_the_silent_one(
    mine: Holdings, other: Other, lock_dir: Path, user: User
) -> None:
    """It follows a worker of another directory that is dead: the lease is long over, and its lock is new."""
    mine.look()
    mine.close()
    Lease.objects.update(place="elsewhere", worker="dead", expires_at=leases.read([user.pk])[user.pk].read_at)
    watcher = holdings(lock_dir, "watcher")
    looked([watcher], QUICK.lease_s * 0.6)
    with python("-m", "tests.support.locker", str(lock_dir / f"user-{user.pk}.lock")) as process:
        process.wait_for("locked")
        looked([watcher], QUICK.lease_s * 0.5)
        assert process.returncode is None
        eventually(lambda: watcher.look() == {} and watcher.users == {user.pk}, 20)
        assert process.wait() == -signal.SIGKILL  # locked, and then stuck before it took the lease
    watcher.close()


# --- the session's lock -------------------------------------------------------------------


@pytest.mark.only_postgres
def test_a_session_that_was_cut_is_made_again_with_its_locks(user: User) -> None:
    first, second = session_locks(), session_locks()
    assert first.take(user.pk)
    assert first.take(user.pk)
    assert not second.take(user.pk)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_locks"
            " WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
        )
    with pytest.raises(Exception, match=r"terminat|closed"):
        first.keep()
    first.keep()
    assert not second.take(user.pk)
    first.give_back(user.pk)
    assert second.take(user.pk)
    first.close()
    second.close()
