"""How living workers share users: to the end, evenly, and with nobody moved who need not be."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.sharing import allot, targets, weigh

NAMES = [f"w{number}" for number in range(6)]
counts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 40), min_size=1)
homes = st.dictionaries(st.integers(1, 60), st.sampled_from(NAMES), max_size=60)
groups = st.sets(st.sampled_from(NAMES), min_size=1)


def count(owners: dict[int, str], living: set[str]) -> dict[str, int]:
    found = Counter(owners.values())
    return {worker: found[worker] for worker in living}


def settle(owners: dict[int, str], living: set[str], fixed: frozenset[int] = frozenset()) -> list[int]:
    """Do what the workers do until nobody does anything more; return who was moved, in order."""
    free = {user: worker for user, worker in owners.items() if worker not in living}
    owners |= allot(free, count(owners, living))
    moved: list[int] = []
    for _ in range(1000):
        owned = count(owners, living)
        given = {
            user: worker
            for worker in living
            for user in sorted(user for user, its in owners.items() if its == worker and user not in fixed)[
                : weigh(None, worker, owned, len(owners), 0).surplus
            ][:2]
        }
        if not given:
            return moved
        kept = {user: worker for user, worker in owners.items() if user not in given}
        owners |= allot(given, count(kept, living))
        moved += given
    raise AssertionError("it never comes to an end")


@given(counts)
def test_targets_share_all_and_differ_by_one_at_most(owned: dict[str, int]) -> None:
    found = targets(owned)
    assert found.keys() == owned.keys()
    assert sum(found.values()) == sum(owned.values())
    assert max(found.values()) - min(found.values()) <= 1


@given(st.dictionaries(st.integers(1, 60), st.sampled_from([*NAMES, ""])), counts)
def test_every_free_user_is_somebodys_and_not_the_last_ones_while_there_is_another(
    free: dict[int, str], owned: dict[str, int]
) -> None:
    found = allot(free, owned)
    assert found.keys() == free.keys()
    assert set(found.values()) <= owned.keys()
    if len(owned) > 1:
        assert all(found[user] != last for user, last in free.items())


@given(homes, groups)
def test_it_ends_even_and_nobody_is_moved_twice(owners: dict[int, str], living: set[str]) -> None:
    users = set(owners)
    moved = settle(owners, living)
    after = count(owners, living)
    assert owners.keys() == users
    assert sum(after.values()) == len(users)
    assert max(after.values()) - min(after.values()) <= 1
    assert len(moved) == len(set(moved))
    assert settle(owners, living) == []


@given(homes, groups, groups)
def test_comings_and_goings_leave_nobody_out(
    owners: dict[int, str], first: set[str], second: set[str]
) -> None:
    users = set(owners)
    for living in (first, second, first):
        settle(owners, living)
        assert owners.keys() == users
        assert set(owners.values()) <= living


@given(homes, groups, st.frozensets(st.integers(1, 60)))
def test_whose_exit_is_worked_is_never_moved(
    owners: dict[int, str], living: set[str], fixed: frozenset[int]
) -> None:
    before = dict(owners)
    settle(owners, living, fixed)
    assert all(owners[user] == before[user] for user in fixed & owners.keys() if before[user] in living)


def test_one_more_worker_gets_its_share_and_no_more() -> None:
    owners = dict.fromkeys(range(1, 11), "w0")
    assert len(settle(owners, {"w0", "w1"})) == 5
    assert len(settle(owners, {"w0", "w1", "w2"})) == 3
    assert sorted(count(owners, {"w0", "w1", "w2"}).values()) == [3, 3, 4]


def test_too_many_counts_only_once_it_has_lasted() -> None:
    balance = weigh(None, "a", {"a": 4, "b": 0}, 4, 100.0)
    assert balance.lasting(100.0, 10.0) == 0
    balance = weigh(balance, "a", {"a": 4, "b": 0}, 4, 105.0)
    assert balance.lasting(110.0, 10.0) == 2
    balance = weigh(balance, "a", {"a": 3, "b": 1}, 4, 110.0)  # the next ones need not wait again
    assert balance.lasting(110.0, 10.0) == 1
    assert weigh(balance, "a", {"a": 2, "b": 2}, 4, 111.0).lasting(200.0, 10.0) == 0


def test_nothing_is_handed_on_while_somebody_is_between_owners() -> None:
    balance = weigh(None, "a", {"a": 8, "b": 8, "c": 0}, 16, 100.0)
    between = weigh(balance, "a", {"a": 6, "b": 8, "c": 0}, 16, 111.0)
    assert between.lasting(112.0, 10.0) == 0
    after = weigh(between, "a", {"a": 7, "b": 7, "c": 2}, 16, 112.0)
    assert after.lasting(112.0, 10.0) == 1


def test_another_set_of_workers_begins_it_anew() -> None:
    balance = weigh(None, "a", {"a": 4, "b": 0}, 4, 100.0)
    changed = weigh(balance, "a", {"a": 4, "b": 0, "c": 0}, 4, 109.0)
    assert changed.lasting(110.0, 10.0) == 0
    even = weigh(balance, "a", {"a": 2, "b": 2}, 4, 105.0)
    assert weigh(even, "a", {"a": 4, "b": 0}, 4, 109.0).lasting(110.0, 10.0) == 0
