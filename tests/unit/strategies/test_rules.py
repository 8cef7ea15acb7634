"""The rule of a stop-loss: exact at the boundary, the same on both sides, and its bounds keep their word."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.prices import to_units
from strategies.domain.breaches import Breach
from strategies.domain.rules import NO_CEILING, STOP_LOSS, Bounds, FixedStop, Judgement
from tests.support.watching import stop

PRICES = st.integers(1, 10**15)


@pytest.mark.parametrize(
    ("long", "price", "hit"),
    [
        (True, 101, False),
        (True, 100, True),
        (True, 99, True),
        (False, 99, False),
        (False, 100, True),
        (False, 101, True),
    ],
)
def test_equality_is_a_breach_on_both_sides(long, price, hit):
    assert FixedStop(100, long).judge(price) == Judgement(None, STOP_LOSS if hit else "")
    assert FixedStop(100, long).judge(price).is_hit is hit


@given(st.sampled_from(["0.01", "0.05", "0.0025"]).map(Decimal), st.integers(2, 10**7), st.booleans())
def test_one_tick_decides_for_every_tick_size(tick, steps, long):
    level, away = tick * steps, tick if long else -tick
    rule = FixedStop(to_units(level), long)
    assert not rule.judge(to_units(level + away)).is_hit
    assert rule.judge(to_units(level)).is_hit
    assert rule.judge(to_units(level - away)).is_hit


@given(PRICES, PRICES, st.booleans())
def test_a_short_is_a_long_in_the_mirror(level, price, long):
    mirror = 10**15 + 1
    turned = FixedStop(mirror - level, not long)
    assert turned.judge(mirror - price).is_hit is FixedStop(level, long).judge(price).is_hit


@given(PRICES, PRICES, st.booleans(), st.none() | st.integers())
def test_inside_the_bounds_nothing_changes_and_at_a_bound_it_does(level, price, long, memory):
    rule = FixedStop(level, long)
    bounds = rule.bounds(memory)
    nothing = Judgement(memory)
    assert (rule.judge(price, memory) == nothing) is (price in bounds)
    assert rule.judge(bounds.floor if long else bounds.ceiling, memory) != nothing
    assert rule.judge(bounds.floor + 1 if long else bounds.ceiling - 1, memory) == nothing


@pytest.mark.parametrize(
    ("price", "shown"), [(0, "0.00"), (-50_000_000, "-5.00"), (NO_CEILING, "461168601842.73")]
)
def test_a_stop_that_no_price_can_reach_is_refused(price, shown):
    with pytest.raises(ValueError, match=f"a stop at {shown}.* can never be reached: set a price above 0"):
        FixedStop(price, is_long=True)


def test_the_bound_that_was_reached_is_told():
    assert [Bounds(90, 110).reached_by(price) for price in (80, 90, 110, 120)] == [90, 90, 110, 110]


def test_the_evidence_names_the_stop_and_the_price():
    rule = FixedStop(to_units(Decimal("1490.05")), is_long=False)
    breach = Breach(stop(rule), STOP_LOSS, to_units(Decimal("1490.1")), 1.5, 1, "tick", 2.5)
    assert breach.evidence() == {
        "source": "tick",
        "price": "1490.10",
        "stop": "1490.05",
        "received_at": 1.5,
        "exchange_time": 1,
        "decided_at": 2.5,
    }
