"""What the keeper has done, and in which order, when users come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError

from marketdata.clock import SystemClock
from marketdata.database import DatabaseThread
from marketdata.domain.leasing import NotOwner
from marketdata.holdings import Holdings
from marketdata.keeper import LeaseKeeper
from marketdata.leases import LeaseFence
from marketdata.models import BrokerAccount, Lease
from marketdata.sessionlocks import session_locks
from marketdata.statements import together
from tests.support.leasing import QUICK
from tests.support.waiting import eventually_async

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("account")]


class StoppableClock(SystemClock):
    """The machine's clock, and what a process sees that was stopped for a while."""

    def __init__(self) -> None:
        self.stopped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.stopped_s


class Crew:
    """Notes what it is asked, with what is owned at that moment."""

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []
        self.keeper: LeaseKeeper | None = None
        self.failures = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.busy: set[int] = set()

    def note(self, what: str, *of: object) -> None:
        assert self.keeper is not None
        self.done.append((what, *of, sorted(self.keeper.owned()), sorted(self.keeper.at_work())))

    async def recover(self, users: Collection[int]) -> None:
        self.note("recover", sorted(users))
        if self.failures:
            self.failures -= 1
            raise DatabaseError("not now")

    def begin(self) -> None:
        self.note("begin")

    def release(self, users: Collection[int], most: int) -> frozenset[int]:
        return frozenset(sorted(set(users) - self.busy)[:most])

    async def drop(self, users: Collection[int]) -> None:
        self.note("drop", sorted(users))
        await self.may_end.wait()

    async def tell(self, troubles: Mapping[int, str], over: Collection[int]) -> None:
        self.done.append(("tell", dict(troubles), sorted(over)))


class Kept:
    """A keeper and what belongs to it."""

    def __init__(self, folder: Path, worker: str = "w", terms=QUICK) -> None:
        self.clock, self.crew = StoppableClock(), Crew()
        self.holdings = Holdings(worker, folder, session_locks(), self.clock, terms)
        self.database = DatabaseThread(f"leases-{worker}")
        self.keeper = self.crew.keeper = LeaseKeeper(
            self.holdings, self.crew, self.database, self.clock, terms
        )
        self.fence = LeaseFence(self.keeper.token)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.keeper.start()
        task = asyncio.create_task(self.keeper.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.close()

    async def close(self) -> None:
        await self.keeper.close()
        self.database.close()

    def passes(self, user_id: int) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            try:
                await self.database.run(lambda: together(*self.fence.held(user_id)))
            except NotOwner:
                return False
            return True

        return check


@pytest.fixture
def kept(lock_dir: Path) -> Kept:
    return Kept(lock_dir)


async def test_exits_are_recovered_before_a_feed_is_run(kept: Kept, user: User) -> None:
    async with kept.running():
        assert kept.crew.done == [("recover", [user.pk], [user.pk], []), ("begin", [user.pk], [user.pk])]
        assert await kept.passes(user.pk)()
    assert kept.keeper.owned() == kept.keeper.at_work() == frozenset()
    assert (await Lease.objects.aget()).expires_at is None


async def test_a_recovery_that_fails_is_tried_again(kept: Kept, user: User) -> None:
    kept.crew.failures = 2
    with pytest.raises(DatabaseError):
        await kept.keeper.start()
    task = asyncio.create_task(kept.keeper.run())
    await eventually_async(lambda: kept.keeper.at_work() == {user.pk})
    assert [what for what, *_ in kept.crew.done] == ["recover"] * 3 + ["begin"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await kept.close()


async def test_who_is_lost_is_given_up_only_when_all_work_has_ended(
    kept: Kept, lock_dir: Path, user: User
) -> None:
    other = Kept(lock_dir, "other")
    async with kept.running():
        kept.crew.done.clear()
        kept.crew.may_end.clear()
        await Lease.objects.aupdate(token=7, worker="thief", expires_at=None)
        await eventually_async(lambda: kept.crew.done == [("drop", [user.pk], [], [])])
        assert not await kept.passes(user.pk)()
        async with other.running():
            assert other.keeper.owned() == frozenset()  # the lock is still held
            kept.crew.may_end.set()
            kept.keeper.retire()
            await eventually_async(lambda: other.keeper.at_work() == {user.pk})


async def test_a_process_that_stood_still_owns_nobody_until_it_has_looked(kept: Kept, user: User) -> None:
    async with kept.running():
        kept.crew.done.clear()
        kept.crew.may_end.clear()
        kept.clock.stopped_s += QUICK.pause_s + 1
        # Before anything else of it has run:
        assert kept.keeper.owned() == kept.keeper.at_work() == frozenset()
        assert kept.keeper.token(user.pk) is None
        assert not await kept.passes(user.pk)()
        await eventually_async(lambda: kept.crew.done == [("drop", [user.pk], [], [])])
        kept.crew.may_end.set()
        await eventually_async(lambda: kept.keeper.at_work() == {user.pk})
        assert kept.crew.done[1:] == [("recover", [user.pk], [user.pk], []), ("begin", [user.pk], [user.pk])]
        assert await kept.passes(user.pk)()
    assert (await Lease.objects.aget()).token == 1  # nobody had it meanwhile


async def test_a_process_that_was_followed_while_it_stood_still_lets_go(kept: Kept, user: User) -> None:
    async with kept.running():
        kept.crew.done.clear()
        await Lease.objects.aupdate(token=7, worker="another", place="elsewhere")
        kept.clock.stopped_s += QUICK.pause_s + 1
        await eventually_async(lambda: kept.holdings.users == frozenset() and not kept.holdings.leaving)
        assert ("recover", [user.pk], [user.pk], []) not in kept.crew.done
        assert kept.keeper.owned() == frozenset()
        row = await Lease.objects.aget()
        assert (row.token, row.worker) == (7, "another")


async def test_a_short_pause_changes_nothing(kept: Kept, user: User) -> None:
    async with kept.running():
        kept.crew.done.clear()
        kept.clock.stopped_s += QUICK.pause_s - 1
        assert kept.keeper.owned() == {user.pk}
        assert await kept.passes(user.pk)()
    assert kept.crew.done == []


async def test_without_the_database_what_is_owned_stays_so(
    kept: Kept, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can take over through it either, and stops have to be watched meanwhile."""
    async with kept.running():
        failed: list[int] = []

        def fail(*_: object) -> None:
            failed.append(1)
            raise DatabaseError("the server closed the connection")

        with monkeypatch.context() as patch:
            patch.setattr("marketdata.leases.read", fail)
            await eventually_async(lambda: len(failed) * QUICK.look_s > QUICK.lease_s, 20)
            assert kept.keeper.at_work() == {user.pk}
        await eventually_async(kept.passes(user.pk))
        assert [what for what, *_ in kept.crew.done] == ["recover", "begin"]


async def test_trouble_is_told_once_and_its_end_too(
    kept: Kept, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = {user.pk: "silent"}
    looks = [{}, silent, silent, {}]
    async with kept.running():
        kept.crew.done.clear()
        monkeypatch.setattr(kept.holdings, "look", lambda **_: looks.pop(0) if looks else {})
        await eventually_async(lambda: len(kept.crew.done) == 2)
    assert kept.crew.done == [("tell", silent, []), ("tell", {}, [user.pk])]


# --- sharing ------------------------------------------------------------------------------


@pytest.fixture
def traders(user: User) -> list[int]:
    """Return four users with an account each, the first of them ``user``."""
    added = [User.objects.create_user(f"trader-{number}") for number in range(3)]
    for number, one in enumerate(added):
        BrokerAccount.objects.create(user=one, broker="zerodha", client_id=f"T{number}")
    return sorted([user.pk, *(one.pk for one in added)])


async def test_a_second_worker_gets_its_share_one_owner_after_the_other(
    kept: Kept, lock_dir: Path, traders: list[int]
) -> None:
    other = Kept(lock_dir, "other")
    async with kept.running():
        assert kept.keeper.at_work() == set(traders)
        kept.crew.done.clear()
        kept.crew.may_end.clear()
        async with other.running():
            # It is nobody's to watch any more, and still nobody else's to take.
            await eventually_async(lambda: kept.crew.done)
            assert kept.crew.done == [("drop", traders[:2], traders[2:], traders[2:])]
            assert all([await kept.passes(pk)() for pk in traders])  # what was begun may still be written
            assert other.keeper.owned() == frozenset()
            kept.crew.may_end.set()
            await eventually_async(lambda: other.keeper.at_work() == set(traders[:2]))
            assert kept.keeper.at_work() == set(traders[2:])
            await asyncio.sleep(QUICK.settle_s * 2)  # the point: nothing more is moved
            assert kept.keeper.at_work() == set(traders[2:])
            assert [what for what, *_ in kept.crew.done] == ["drop"]
        await eventually_async(lambda: kept.keeper.at_work() == set(traders))


async def test_who_is_busy_is_not_handed_on(kept: Kept, lock_dir: Path, traders: list[int]) -> None:
    other = Kept(lock_dir, "other")
    kept.crew.busy = set(traders[:3])
    async with kept.running(), other.running():
        await eventually_async(lambda: other.keeper.at_work() == set(traders[3:]))
        await asyncio.sleep(QUICK.settle_s)
        assert kept.keeper.at_work() == set(traders[:3])
        kept.crew.busy = set(traders[:2])
        await eventually_async(lambda: other.keeper.at_work() == set(traders[2:]))


async def test_one_that_retires_hands_nobody_on(kept: Kept, lock_dir: Path, traders: list[int]) -> None:
    other = Kept(lock_dir, "other")
    async with kept.running(), other.running():
        kept.keeper.retire()
        await asyncio.sleep(QUICK.settle_s * 1.5)
        assert kept.keeper.at_work() == set(traders)
