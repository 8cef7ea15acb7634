"""What is unprotected for too long, and how it is put together."""

from __future__ import annotations

from datetime import datetime

import pytest

from marketdata.domain.sessions import IST, Calendar
from project.vigil import Bare, Vigil, is_watch_time, troubles

DOWN = "the feed of Main is not connected"


def bare(strategy: int, reason: str = DOWN, *, user: int = 1, account: int = 1) -> Bare:
    return Bare(strategy, f"S{strategy}", user, account, reason)


def test_a_stop_is_overdue_after_fifteen_seconds_without_a_break():
    vigil = Vigil()
    assert vigil.overdue([1], 0) == set()
    assert vigil.overdue([1, 2], 10) == set()
    assert vigil.overdue([1, 2], 16) == {1}
    assert vigil.overdue([2], 20) == set()
    assert vigil.overdue([1, 2], 26) == {2}
    assert vigil.overdue([1, 2], 41.5) == {1, 2}


def test_one_cause_is_one_trouble_however_its_details_change():
    group = [bare(1, f"{DOWN}: refused"), bare(2, f"{DOWN}: timed out"), bare(3, "it has no stop")]
    told, young = troubles([*group, bare(4, DOWN, account=2), bare(5, DOWN, user=2, account=3)], {1, 2, 4})
    assert [(one.user_id, one.account_id, set(one.strategies)) for one in told] == [
        (1, 1, {1, 2}),
        (1, 2, {4}),
    ]
    assert [one.strategies for one in young] == [{3}, {5}]
    assert told[0].cause == DOWN
    assert told[0].text.startswith(
        f"2 stops are not protected: {DOWN}: refused. Without a sure watch: S1, S2."
    )


def test_a_long_list_is_cut_and_counted():
    [one], _ = troubles([bare(n) for n in range(25)], set(range(25)))
    assert "25 stops" in one.text
    assert "S9 and 15 more." in one.text


@pytest.mark.parametrize(
    ("clock", "expected"),
    [("06:00", False), ("09:09", False), ("09:10", True), ("09:15", True), ("15:29", True), ("15:30", False)],
)
def test_it_is_the_hour_from_five_minutes_before_the_open(clock: str, expected: bool):
    now = datetime.fromisoformat(f"2026-11-23T{clock}").replace(tzinfo=IST).timestamp()
    assert is_watch_time("NSE", now, Calendar()) is expected
    assert is_watch_time("NSE", now, Calendar(always=True))
