"""Whether anybody works for a user, by their lease."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from marketdata.domain.sessions import IST
from marketdata.models import BrokerAccount, Instrument, Lease
from project.attendance import GRACE_S, Attendance
from strategies.lasting import Trouble
from strategies.models import Strategy
from strategies.services import start_strategy
from tests.support.exits import make

pytestmark = pytest.mark.django_db
OPEN, NIGHT = datetime(2026, 11, 23, 11, tzinfo=IST), datetime(2026, 11, 23, 3, tzinfo=IST)


@pytest.fixture
def armed(account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    return start_strategy(make(account, instruments["NSE:INFY"], stop_loss=Decimal(1000)))


@pytest.fixture
def attendance() -> Attendance:
    return Attendance(always=False)


def lease(strategy: Strategy, seconds: float | None) -> None:
    expires_at = None if seconds is None else timezone.now() + timedelta(seconds=seconds)
    values = {"worker": "w1", "token": 1, "expires_at": expires_at}
    Lease.objects.update_or_create(user=strategy.user, defaults=values)


def look(attendance: Attendance, at: float, now: datetime = OPEN) -> list[Trouble]:
    return attendance.look(now, at)


def test_a_lease_that_is_renewed_is_no_trouble_and_one_that_ran_out_is_one_at_once(
    attendance: Attendance, armed: Strategy
) -> None:
    lease(armed, 9)
    assert look(attendance, 0) == []
    lease(armed, -0.5)
    [trouble] = look(attendance, 2)
    assert (trouble.user_id, trouble.urgency) == (armed.user_id, "urgent")
    assert set(trouble.strategies) == {armed.pk}
    assert trouble.text.startswith("The listeners have died: w1 was last heard of at ")
    assert "Nothing watches your stop." in trouble.text
    lease(armed, 9)
    assert look(attendance, 4) == []


@pytest.mark.parametrize("is_new", [True, False], ids=["never started", "ended in order"])
def test_an_end_in_order_has_the_time_of_a_restart(
    attendance: Attendance, armed: Strategy, *, is_new: bool
) -> None:
    if not is_new:
        lease(armed, None)
    assert look(attendance, 0) == []
    assert look(attendance, GRACE_S - 1) == []
    [trouble] = look(attendance, GRACE_S)
    assert trouble.text.startswith("The listeners do not run. Nothing watches")
    lease(armed, 9)
    assert look(attendance, GRACE_S + 1) == []
    lease(armed, None)
    assert look(attendance, GRACE_S + 2) == []  # counted anew


def test_at_night_it_is_told_quietly(attendance: Attendance, armed: Strategy) -> None:
    lease(armed, -1)
    assert [one.urgency for one in look(attendance, 0, NIGHT)] == ["info"]


def test_whoever_only_watches_is_told_quietly_and_whoever_wants_nothing_is_not(
    attendance: Attendance, armed: Strategy, account: BrokerAccount
) -> None:
    lease(armed, -1)
    Strategy.objects.update(status="closed")
    [trouble] = look(attendance, 0)
    assert (trouble.urgency, len(trouble.strategies)) == ("info", 0)
    assert "No price arrives." in trouble.text
    BrokerAccount.objects.update(desired_state="stopped")
    assert look(attendance, 2) == []
