"""A filter may delay an exit, by a second at most, and never prevents one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.crashes import Crash

CRASHES, PORTIONS = 6000, 20
SLACK_S = 1e-6


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_of_thousands_of_true_crashes_none_is_missed_and_none_waits_longer_than_a_second(portion: int):
    delays = [delay(seed) for seed in range(portion, CRASHES, PORTIONS)]
    assert sum(waited > 0 for waited in delays) > len(delays) // 20, "the stories have become too easy"
    assert max(delays) > 0.9


def delay(seed: int) -> float:
    fallen = Crash(random.Random(seed).randint).play()
    assert fallen.delay_s is not None, (seed, fallen.story)
    assert fallen.delay_s <= 1 + SLACK_S, (seed, fallen.delay_s, fallen.story)
    assert len(fallen.house.breaches) == 1
    return fallen.delay_s


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_price_that_stays_beyond_its_stop_is_handed_over_within_a_second(data: st.DataObject):
    fallen = Crash(lambda low, high: data.draw(st.integers(low, high))).play()
    assert fallen.delay_s is not None, fallen.story
    assert fallen.delay_s <= 1 + SLACK_S, fallen.story
