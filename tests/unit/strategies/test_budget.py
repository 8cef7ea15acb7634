"""How many orders may leave: never more in any second or minute than the broker takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.orders import OrderLimits
from strategies.domain.budget import POLL_S, DayCap, Pace, SlidingWindow


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_no_second_ever_holds_more_than_its_limit(gaps):
    pace, now, sent = Pace(OrderLimits(10, 400, 5000)), 0.0, []
    for gap in gaps:
        now += gap / 50
        now += pace.wait_s(now)
        pace.count(now)
        sent.append(now)
    assert all(later - earlier >= 1.0 for earlier, later in zip(sent, sent[10:], strict=False))


def test_no_minute_either():
    pace, now, sent = Pace(OrderLimits(10, 25, 5000)), 0.0, []
    for _ in range(80):
        now += pace.wait_s(now)
        pace.count(now)
        sent.append(now)
    assert all(later - earlier >= 60.0 for earlier, later in zip(sent, sent[25:], strict=False))
    assert sent[24] < 3, "what is allowed is used"


def test_nor_an_hour_where_a_broker_counts_them_and_a_person_is_told():
    pace, now, sent = Pace(OrderLimits(10, 400, 7000, per_hour=30)), 0.0, []
    for _ in range(70):
        now += pace.wait_s(now)
        pace.count(now)
        sent.append(now)
    assert all(later - earlier >= 3600.0 for earlier, later in zip(sent, sent[30:], strict=False))
    assert sent[29] < 4, "what is allowed is used"
    assert pace.warning(sent[29] + 1.0).startswith("All 30 order requests")
    assert not pace.warning(sent[69] + 3700.0)
    assert not Pace(OrderLimits(1, 1, 1)).warning(now), "a minute is soon over"


def test_what_is_about_to_leave_counts_as_left():
    pace = Pace(OrderLimits(2, 400, 5000))
    pace.reserve()
    pace.count(0.0)
    assert pace.wait_s(0.5) > 0
    pace.release()
    assert pace.wait_s(0.5) == 0


def test_while_all_is_reserved_it_is_looked_again_soon():
    window = SlidingWindow(2, 1.0)
    assert window.wait_s(0.0, reserved=2) == POLL_S
    window.count(0.0)
    assert window.wait_s(0.25, reserved=1) == 0.75


def test_a_place_that_came_to_nothing_is_free_again():
    pace = Pace(OrderLimits(1, 400, 5000))
    pace.reserve()
    assert pace.wait_s(0.5) > 0
    pace.release()
    assert pace.wait_s(0.5) == 0


def test_a_tenth_of_the_day_is_kept_for_first_orders():
    cap = DayCap(OrderLimits(10, 400, 100), used=89)
    assert (cap.left, cap.spare, cap.is_short) == (11, 1, True)
    cap.used += 1
    assert (cap.left, cap.spare) == (10, 0)


@pytest.mark.parametrize(("used", "left", "short"), [(69, 31, False), (70, 30, True), (101, 0, True)])
def test_it_is_said_when_seven_tenths_are_used(used, left, short):
    cap = DayCap(OrderLimits(10, 400, 100), used=used)
    assert (cap.left, cap.is_short) == (left, short)


def test_what_a_person_is_told_of_a_days_orders():
    limits = OrderLimits(10, 400, 100)
    assert not DayCap(limits, used=69).warning
    assert DayCap(limits, used=70).warning.startswith("Seven tenths of the 100")
    assert DayCap(limits, used=100).warning.startswith("All 100")
