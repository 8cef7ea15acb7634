"""Who owns a user: the decision, case by case, and what may never come of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.leasing import LeaseRecord, Lock, Step, Terms, decide, watch

TERMS = Terms()
LEASE_S = TERMS.lease_s
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
HERE, THERE = "boot:1:2", "boot:1:3"
FRESH, OVER = 5.0, -1.0
LONG, SHORT = LEASE_S, LEASE_S - 0.1


def lease(expires_in_s: float | None, token: int = 7, place: str = HERE) -> LeaseRecord:
    expires_at = None if expires_in_s is None else NOW + timedelta(seconds=expires_in_s)
    return LeaseRecord(token, "other", place, expires_at, NOW)


def step(mine: int | None, record: LeaseRecord, silent_s: float, lock: Lock) -> Step:
    return decide(mine, record, silent_s, lock, place=HERE, lease_s=LEASE_S)


@pytest.mark.parametrize(
    ("record", "silent_s", "lock", "expected"),
    [
        # Nobody's: at once, wherever it was held.
        (lease(None), 0, Lock.MINE, Step.TAKE),
        (lease(None, place=THERE), 0, Lock.MINE, Step.TAKE),
        # The kernel says that its holder is gone.
        (lease(FRESH), 0, Lock.MINE, Step.TAKE),
        # A holder under another lock directory: the kernel says nothing about it.
        (lease(FRESH, place=THERE), 0, Lock.MINE, Step.WAIT),
        (lease(FRESH, place=THERE), LONG, Lock.MINE, Step.WAIT),
        (lease(OVER, place=THERE), SHORT, Lock.MINE, Step.WAIT),
        (lease(OVER, place=THERE), LONG, Lock.MINE, Step.TAKE),
        # A holder that lives.
        (lease(FRESH), 0, Lock.LIVING, Step.WAIT),
        (lease(FRESH), LONG, Lock.LIVING, Step.WAIT),
        (lease(OVER), SHORT, Lock.LIVING, Step.WAIT),  # only our clock says so, or the database stood still
        (lease(OVER), LONG, Lock.LIVING, Step.KILL),
        (lease(None), LONG, Lock.LIVING, Step.KILL),  # locked, and then stuck before it took the lease
        (lease(None), SHORT, Lock.LIVING, Step.WAIT),
        (lease(OVER), SHORT, Lock.OBSCURE, Step.WAIT),
        (lease(OVER), LONG, Lock.OBSCURE, Step.ALARM),
    ],
)
def test_one_who_does_not_own(record: LeaseRecord, silent_s: float, lock: Lock, expected: Step) -> None:
    assert step(None, record, silent_s, lock) is expected


@pytest.mark.parametrize(
    ("record", "lock", "expected"),
    [
        (lease(FRESH, token=7), Lock.MINE, Step.RENEW),
        (lease(OVER, token=7), Lock.MINE, Step.RENEW),  # with the same token nobody had it meanwhile
        (lease(FRESH, token=8), Lock.MINE, Step.LOSE),
        (lease(FRESH, token=7), Lock.LIVING, Step.LOSE),  # the lock's file was replaced
        (lease(FRESH, token=7), Lock.OBSCURE, Step.LOSE),
    ],
)
def test_an_owner(record: LeaseRecord, lock: Lock, expected: Step) -> None:
    assert step(7, record, LONG, lock) is expected


records = st.builds(
    lease,
    st.one_of(st.none(), st.floats(-100, 100)),
    st.integers(0, 5),
    st.sampled_from([HERE, THERE]),
)
silences = st.floats(0, 100)


@given(records, silences, st.sampled_from([Lock.LIVING, Lock.OBSCURE]))
def test_nobody_takes_over_what_another_has_locked(record: LeaseRecord, silent_s: float, lock: Lock) -> None:
    assert step(None, record, silent_s, lock) is not Step.TAKE


@given(st.one_of(st.none(), st.integers(0, 5)), records, silences, st.sampled_from(Lock))
def test_only_the_silent_are_killed(
    mine: int | None, record: LeaseRecord, silent_s: float, lock: Lock
) -> None:
    if step(mine, record, silent_s, lock) in (Step.KILL, Step.ALARM):
        assert mine is None
        assert record.is_over
        assert silent_s >= LEASE_S


@given(records, silences)
def test_another_directorys_holder_is_left_its_whole_lease(record: LeaseRecord, silent_s: float) -> None:
    if step(None, record, silent_s, Lock.MINE) is Step.TAKE and record.place == THERE:
        assert record.expires_at is None or (record.is_over and silent_s >= LEASE_S)


# --- how long it has been unchanged -------------------------------------------------------


def test_silence_is_counted_between_the_first_looks_end_and_the_last_ones_beginning() -> None:
    seen = watch(None, lease(OVER), 10.0, 10.4, 5.0)
    assert seen.silent_s == 0
    seen = watch(seen, lease(OVER), 14.0, 14.9, 5.0)
    assert seen.silent_s == pytest.approx(3.6)


@pytest.mark.parametrize("changed", [lease(OVER + 1), lease(OVER, token=8), lease(None)])
def test_any_change_is_a_sign_of_life(changed: LeaseRecord) -> None:
    seen = watch(watch(None, lease(OVER), 0, 0, 5.0), lease(OVER), 4, 4, 5.0)
    assert seen.silent_s == 4
    assert watch(seen, changed, 5, 5, 5.0).silent_s == 0


@pytest.mark.parametrize(("began", "ended"), [(30.0, 30.1), (4.1, 30.0)])
def test_a_watcher_that_did_not_look_for_a_while_knows_nothing(began: float, ended: float) -> None:
    seen = watch(watch(None, lease(OVER), 0, 0, 5.0), lease(OVER), 4, 4, 5.0)
    assert watch(seen, lease(OVER), began, ended, 5.0).silent_s == 0


@given(st.lists(st.tuples(st.floats(0, 4), st.floats(0, 4)), min_size=1, max_size=30))
def test_silence_is_never_longer_than_the_watch(looks: list[tuple[float, float]]) -> None:
    seen, now = None, 0.0
    for pause, duration in looks:
        began, now = now + pause, now + pause + duration
        seen = watch(seen, lease(OVER), began, now, 5.0)
    assert seen is not None
    assert 0 <= seen.silent_s <= now


def test_a_paused_worker_knows_before_another_may_act_on_it() -> None:
    assert TERMS.pause_s + TERMS.look_s < TERMS.lease_s
    assert TERMS.renew_s * 3 < TERMS.lease_s
    assert TERMS.lease_s + TERMS.gap_s + TERMS.kill_wait_s < 20
