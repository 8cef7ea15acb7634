"""Which reminder of a login is due, by the clock, the login's end, and what is armed."""

from __future__ import annotations

from datetime import datetime, time

import pytest

from marketdata.domain.reminders import due_reminder, is_login_missing
from marketdata.domain.sessions import IST, Calendar, Hours

NEVER, UNKNOWN = float("-inf"), float("inf")
MONDAY = datetime(2026, 11, 23, tzinfo=IST)
HOLIDAY = Calendar({("NSE", MONDAY.date()): None})


def at(clock: str) -> float:
    return datetime.combine(MONDAY.date(), time.fromisoformat(clock), IST).timestamp()


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("08:29:59", None),
        ("08:30:00", "08:30"),
        ("08:54:59", "08:30"),
        ("08:55:00", "08:55"),
        ("09:04:59", "08:55"),
        ("09:05:00", "09:05"),
        ("09:14:59", "09:05"),
        ("09:15:00", None),
        ("15:31:00", None),
    ],
)
def test_each_has_its_part_of_the_morning(now: str, due: str | None):
    reminder = due_reminder(at(now), NEVER, ["NSE"], Calendar())
    assert (reminder and reminder.at) == (due and at(due))
    assert (reminder is not None and reminder.is_first) == (due == "08:30")


@pytest.mark.parametrize(
    ("valid_until", "exchanges", "calendar", "is_due"),
    [
        (NEVER, ["NSE"], Calendar(), True),
        (at("06:00"), ["NSE"], Calendar(), True),
        (at("11:00"), ["NSE"], Calendar(), True),  # it dies in the middle of the session
        (at("15:29:59"), ["NSE"], Calendar(), True),
        (at("15:30"), ["NSE"], Calendar(), False),
        (UNKNOWN, ["NSE"], Calendar(), False),
        (NEVER, [], Calendar(), False),
        (NEVER, ["NSE"], HOLIDAY, False),
        (NEVER, ["NFO"], HOLIDAY, False),
        (NEVER, ["NSE", "MCX"], HOLIDAY, True),
        (at("23:00"), ["NSE", "MCX"], Calendar(), True),
        (at("16:30"), ["NSE"], Calendar({("NSE", MONDAY.date()): Hours(time(10), time(17))}), True),
        (NEVER, ["NSE"], Calendar(always=True), False),
    ],
)
def test_what_is_armed_where_and_until_when(
    valid_until: float, exchanges: list[str], calendar: Calendar, is_due: bool
):
    assert (due_reminder(at("08:31"), valid_until, exchanges, calendar) is not None) is is_due


def test_nothing_is_due_at_a_weekend():
    saturday = at("08:31") + 5 * 86400
    assert due_reminder(saturday, NEVER, ["NSE"], Calendar()) is None


def test_a_login_is_missing_until_the_last_session_is_over():
    assert is_login_missing(at("15:29"), NEVER, ["NSE"], Calendar())
    assert not is_login_missing(at("15:30"), NEVER, ["NSE"], Calendar())
    assert is_login_missing(at("15:30"), NEVER, ["NSE", "MCX"], Calendar())
