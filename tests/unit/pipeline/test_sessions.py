"""When exchanges trade, against their published hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.sessions import (
    IST,
    Calendar,
    DayOverrides,
    Hours,
    Phase,
    is_new_york_summer,
    is_open,
)

MONDAY, SATURDAY = date(2026, 11, 23), date(2026, 11, 21)


def at(day: date, clock: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(clock), IST)


@pytest.mark.parametrize(
    ("exchange", "opens", "closes"),
    [
        ("NSE", "09:15", "15:30"),
        ("BSE", "09:15", "15:30"),
        ("NFO", "09:15", "15:30"),
        ("BFO", "09:15", "15:30"),
        ("CDS", "09:00", "17:00"),
        ("BCD", "09:00", "17:00"),
        ("MCX", "09:00", "23:55"),
    ],
)
def test_the_session_includes_its_open_and_not_its_close(exchange: str, opens: str, closes: str) -> None:
    assert is_open(exchange, at(MONDAY, opens))
    assert not is_open(exchange, at(MONDAY, closes))
    assert is_open(exchange, at(MONDAY, closes) - timedelta(seconds=1))
    assert not is_open(exchange, at(MONDAY, "08:59:59"))


def test_commodities_close_earlier_while_new_york_has_summer_time() -> None:
    summer = date(2026, 7, 6)
    assert is_open("MCX", at(summer, "23:29"))
    assert not is_open("MCX", at(summer, "23:30"))


@pytest.mark.parametrize(
    ("day", "summer"),
    [
        (date(2026, 3, 7), False),
        (date(2026, 3, 8), True),
        (date(2026, 10, 31), True),
        (date(2026, 11, 1), False),
        (date(2027, 3, 14), True),
        (date(2027, 11, 6), True),
        (date(2027, 11, 7), False),
    ],
)
def test_new_york_summer_time_begins_and_ends_on_its_sundays(day: date, *, summer: bool) -> None:
    assert is_new_york_summer(day) is summer


def test_another_timezone_means_the_same_moment() -> None:
    assert is_open("NSE", datetime(2026, 11, 23, 3, 45, tzinfo=UTC))
    assert not is_open("NSE", datetime(2026, 11, 23, 3, 44, 59, tzinfo=UTC))


def test_a_moment_without_timezone_is_refused() -> None:
    with pytest.raises(ValueError, match="no timezone"):
        is_open("NSE", datetime(2026, 11, 23, 10))  # noqa: DTZ001 - that is the point


def test_a_weekend_is_a_closed_day_and_an_evening_is_not() -> None:
    calendar = Calendar()
    assert calendar.phase("NSE", at(SATURDAY, "10:00").timestamp())[0] is Phase.CLOSED_DAY
    assert calendar.phase("NSE", at(MONDAY, "20:00").timestamp())[0] is Phase.AFTER_CLOSE


def test_an_exchange_nobody_described_has_no_session() -> None:
    assert Calendar().phase("XYZ", at(MONDAY, "10:00").timestamp())[0] is Phase.CLOSED_DAY


def test_a_special_session_counts_for_the_derivatives_too() -> None:
    days: DayOverrides = {("NSE", SATURDAY): Hours(time(18), time(19))}
    assert is_open("NSE", at(SATURDAY, "18:30"), days)
    assert is_open("NFO", at(SATURDAY, "18:30"), days)
    assert not is_open("BSE", at(SATURDAY, "18:30"), days)
    assert not is_open("NSE", at(SATURDAY, "10:00"), days)


def test_a_holiday_of_its_own_outweighs_the_parents() -> None:
    days: DayOverrides = {("NSE", MONDAY): None, ("NFO", MONDAY): Hours(time(10), time(11))}
    assert not is_open("NSE", at(MONDAY, "10:30"), days)
    assert is_open("NFO", at(MONDAY, "10:30"), days)


def test_always_is_always() -> None:
    assert Calendar(always=True).phase("NSE", at(SATURDAY, "03:00").timestamp()) == (Phase.OPEN, float("inf"))


@given(st.integers(1_767_000_000, 1_830_000_000), st.sampled_from(["NSE", "MCX", "CDS", "XYZ"]))
def test_a_phase_holds_until_the_moment_it_names(now: int, exchange: str) -> None:
    calendar = Calendar()
    phase, until = calendar.phase(exchange, now)
    assert now < until <= now + 24 * 3600
    assert calendar.phase(exchange, (now + until) / 2)[0] is phase
    assert calendar.phase(exchange, until - 0.001)[0] is phase
