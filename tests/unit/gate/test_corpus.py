"""Bad ticks sell nothing, and leave the stop armed: the catalogue's rows TK-01 to TK-21 as a corpus."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.bad_ticks import Case, corpus
from tests.support.ticking import MONDAY, TickHouse

CASES = list(corpus())


def test_the_corpus_is_large_and_every_case_has_its_own_name():
    assert len(CASES) >= 500
    assert len({case.name for case, _ in CASES}) == len(CASES)
    rows = Counter(case.row for case, _ in CASES)
    assert set(rows) == {f"TK-{n:02}" for n in (1, 2, 3, 4, 5, 7, 8, 10, 11, 14, 15, 20, 21)}


@pytest.mark.parametrize(("case", "now"), [pytest.param(*row, id=row[0].name) for row in CASES])
def test_a_bad_tick_sells_nothing(case: Case, now: float):
    house = case.house(now)
    case.act(case, house)
    house.move(5)
    assert not house.breaches, house.breaches
    assert house.monitor.armed_count == 1  # it was not believed, and cost the stop nothing
    assert set(house.counts) - {"accepted"} or house.doubts, "nothing was refused or doubted"
    if now == MONDAY:
        case.good(house)
        fall(case, house)


def fall(case: Case, house: TickHouse) -> None:
    """A true fall after all that: one tick, and nothing to say otherwise."""
    began = house.now
    house.markets.clear()
    house.tick(case.symbol, case.touch())
    house.move(1)
    assert [breach.decided_at <= began + 1 for breach in house.breaches] == [True]
