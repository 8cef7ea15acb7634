"""Stops by bound, in runs, against a plain sorted list."""

from __future__ import annotations

import random

import pytest

from strategies.domain import ranked
from strategies.domain.ranked import Ranked
from strategies.domain.rules import FixedStop
from strategies.domain.stops import Stop


def put(bound: int, strategy_id: int) -> tuple[int, int, Stop]:
    return bound, strategy_id, Stop(strategy_id, 1, 1, "NSE:INFY", FixedStop(bound, True), 10)


def check(some: Ranked, plain: list[tuple[int, int, Stop]]) -> None:
    assert list(map(id, some)) == [id(stop) for *_, stop in plain]
    assert bool(some) == bool(plain)
    if plain:
        assert (some.lowest, some.highest) == (plain[0][0], plain[-1][0])


@pytest.mark.parametrize("levels", [5, 60, 4_000], ids=lambda levels: f"{levels} bounds")
def test_runs_agree_with_a_sorted_list(monkeypatch, levels):
    monkeypatch.setattr(ranked, "RUN", 4)
    rng, some, plain = random.Random(levels), Ranked(), []
    for strategy_id in rng.sample(range(3_000), 1_500):
        plain.append(put(rng.randint(1, levels), strategy_id))
        some.add(plain[-1][0], plain[-1][2])
        plain.sort(key=lambda entry: entry[:2])
        if rng.random() < 0.4:
            bound, _, stop = plain.pop(rng.randrange(len(plain)))
            some.remove(bound, stop)
        if rng.random() < 0.02:
            cut = plain[rng.randrange(len(plain))][0] + rng.choice((-1, 0, 1))
            under = [entry for entry in plain if entry[0] < cut]
            over = plain[len(under) :]
            assert some.below(cut) == [stop for *_, stop in under]
            assert some.at_least(cut) == [stop for *_, stop in reversed(over)]
            if len(under) < len(over):
                assert some.pop_below(cut) == [stop for *_, stop in under]
                plain = over
            else:
                assert some.pop_at_least(cut) == [stop for *_, stop in reversed(over)]
                plain = under
        check(some, plain)


def test_only_the_very_stop_is_removed():
    some, (_, _, first), (_, _, other) = Ranked(), put(10, 1), put(10, 1)
    some.add(10, first)
    for bound in (9, 10, 11):
        some.remove(bound, other)
    assert list(some) == [first]
    some.remove(10, first)
    assert not some
