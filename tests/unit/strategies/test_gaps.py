"""A stop that was crossed unseen is found where it can be proved, and never where it was not crossed."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from strategies.domain.gaps import Crossing, DayRange, crossed
from strategies.domain.rules import FixedStop
from strategies.domain.stops import Stop

TODAY, YESTERDAY = date(2026, 11, 25), date(2026, 11, 24)
prices = st.lists(st.integers(1, 60), min_size=1, max_size=30)


def stop(price: int, *, is_long: bool = True) -> Stop:
    return Stop(1, 1, 1, "NSE:INFY", FixedStop(price, is_long), 10)


def ranged(path: list[int], at: float, day: date = TODAY) -> DayRange:
    return DayRange(min(path), max(path), day, at)


def look(level: int, before: list[int], since: list[int], *, is_long: bool = True) -> Crossing | None:
    """Return what two looks show when the price went along ``before``, and then along ``since``."""
    return crossed(
        stop(level, is_long=is_long), ranged(before, 100.0), ranged(before + since, 200.0), since[-1]
    )


@given(prices, prices, st.integers(1, 60), st.booleans())
def test_what_is_found_did_happen_after_the_look_before(
    before: list[int], since: list[int], level: int, is_long: bool
) -> None:
    found = look(level, before, since, is_long=is_long)
    if found is not None:
        assert found.extreme in since
        assert found.stop.rule.judge(found.extreme, None).is_hit
        assert (found.since, found.until, found.is_overnight) == (100.0, 200.0, False)


@given(prices, prices, st.integers(1, 60), st.booleans())
@example(before=[50], since=[49, 55], level=49, is_long=True)
@example(before=[50], since=[51, 45], level=51, is_long=False)
def test_every_crossing_to_where_the_price_had_not_been_before_is_found(
    before: list[int], since: list[int], level: int, is_long: bool
) -> None:
    if is_long:
        is_hit = min(since) < min(before) and min(since) <= level
    else:
        is_hit = max(since) > max(before) and max(since) >= level
    assume(is_hit)
    assert look(level, before, since, is_long=is_long) is not None


@given(prices, st.integers(1, 60), st.booleans())
def test_a_range_that_stays_as_it_was_proves_nothing(path: list[int], level: int, is_long: bool) -> None:
    assert look(level, path, [path[-1]], is_long=is_long) is None


@pytest.mark.parametrize(
    ("before", "since", "is_found"),
    [
        ([100, 95], [92, 89, 97], True),
        ([100, 95], [90, 97], True),  # equality is a breach
        ([100, 95], [91, 97], False),
        ([100, 85, 96], [88, 97], False),  # it had been lower before: this dip cannot be told from that
        ([100, 85, 96], [84, 97], True),
    ],
)
def test_a_long_stop_at_90(before: list[int], since: list[int], *, is_found: bool) -> None:
    assert (look(90, before, since) is not None) is is_found


@pytest.mark.parametrize(("low", "is_found"), [(89, True), (91, False)])
def test_a_new_day_began_after_the_arming_but_is_only_told(low: int, *, is_found: bool) -> None:
    yesterday = DayRange(80, 120, YESTERDAY, 100.0)
    found = crossed(stop(90), yesterday, DayRange(low, 120, TODAY, 200.0), 97)
    assert (found is not None) is is_found
    assert found is None or found.is_overnight
