"""The soak's own parts: what it plans, and that its judge notices what grows. The day itself is `make soak`."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.soak.__main__ import arguments
from tests.soak.gauges import Gauges
from tests.soak.happenings import Happenings
from tests.soak.schedule import SLOT_S, TROUBLES, Day, schedule


def test_one_seed_gives_one_day() -> None:
    assert schedule(Day(seed=3)) == schedule(Day(seed=3)) != schedule(Day(seed=4))


def test_a_usual_day_has_every_trouble_in_turn_and_every_breach() -> None:
    day = Day()
    planned = schedule(day)
    counted = Counter(one.what for one in planned)
    assert counted["breach"] == len({one.number for one in planned if one.what == "breach"}) == day.breaches
    assert min(counted[name] for name in TROUBLES) >= 2
    assert all(hasattr(Happenings, name) for name in counted)
    lasting = [one for one in planned if one.what in (*TROUBLES, "mend")]
    for trouble, mend in zip(lasting[::2], lasting[1::2], strict=True):
        assert (trouble.what in TROUBLES, mend.what) == (True, "mend")
        assert mend.at_s - trouble.at_s < SLOT_S
    assert planned[-1].at_s < day.seconds
    assert (day.clock(0), day.clock(day.seconds)) == ("09:15", "15:30")


@pytest.mark.parametrize(
    ("memory", "files", "told"),
    [
        ([50] * 10 + [100] * 30, [40] * 40, []),
        ([100] * 20 + [104] * 20, [40] * 39 + [90], []),
        ([100] * 20 + [106] * 20, [40] * 40, ["memory grew by 6.0%, more than 5%"]),
        ([100] * 40, list(range(40, 80)), ["27 more descriptors are open at the end"]),
    ],
)
def test_what_grows_after_the_warm_up_is_noticed(
    memory: list[int], files: list[int], told: list[str]
) -> None:
    assert Gauges(0, memory, files).troubles() == told


def test_a_process_is_looked_at() -> None:
    gauges = Gauges(os.getpid())
    gauges.sample()
    assert gauges.memory[0] > 10 * 2**20
    assert gauges.files[0] > 2


def test_a_day_that_makes_no_sense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        arguments(["--breaches", "300"])
    assert "no more than strategies" in capsys.readouterr().err
    assert arguments([]) == Day()
