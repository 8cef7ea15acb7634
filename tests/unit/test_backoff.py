"""Delays: jittered, capped, without end."""

from __future__ import annotations

import random
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from marketdata.backoff import full_jitter


@given(st.integers())
def test_no_delay_leaves_its_doubling_bound(seed: int) -> None:
    delays = list(islice(full_jitter(random.Random(seed)), 40))
    bounds = [1, 2, 4, 8] + [15] * 36
    assert all(0 <= delay <= bound for delay, bound in zip(delays, bounds, strict=True))


def test_many_clients_spread_over_the_whole_range() -> None:
    fifth = [next(islice(full_jitter(random.Random(seed)), 4, 5)) for seed in range(200)]
    assert min(fifth) < 1.5
    assert max(fifth) > 13.5


def test_one_seed_gives_one_run() -> None:
    first, second = (list(islice(full_jitter(random.Random(7)), 10)) for _ in range(2))
    assert first == second
