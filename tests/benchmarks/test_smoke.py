"""Each row that needs no other process runs; what it measures is for a quiet machine."""

from __future__ import annotations

import time

from tests.benchmarks import inside
from tests.benchmarks.__main__ import arguments
from tests.benchmarks.figures import Bound, plain_row, ratio_row
from tests.benchmarks.frames import Universe
from tests.benchmarks.report import line
from tests.benchmarks.rows import MEASURES


def test_every_row_that_can_be_named_is_measured() -> None:
    assert arguments(["--rows", *MEASURES]).rows == list(MEASURES)


def test_a_missed_gate_is_told() -> None:
    bound = Bound(gate=10, aim=20, is_most=False)
    rows = [ratio_row("x", "ours ÷ theirs", "/s", [ours], [1.0], bound, "") for ours in (5.0, 15.0, 25.0)]
    assert [row.verdict for row in rows] == ["MISSED", "gate", "aim"]
    assert "MISSED" in line(rows[0])
    assert plain_row("x", "alone", "ms", [1.0], None, "").verdict == ""


def test_a_frame_takes_the_fast_way_and_is_checked() -> None:
    universe = Universe.of(300)
    house = inside.Inside(universe, armed=900)
    frames = inside.made(universe, 300, count=3)
    house.warm(frames[:1])
    before = house.processor.stats().total_ticks
    began = time.time()
    house.take(frames[1])
    assert house.processor.stats().total_ticks - before == 300
    assert len(house.board.waiting()) == 300  # kept, and shown to nobody yet
    assert time.time() - began < 60
