"""An error while something is told leaves no instrument open that nobody can wake."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from marketdata.board import Board
from marketdata.brokers.zerodha.columns import KiteColumns
from marketdata.domain.gate import Accepted
from marketdata.domain.ticks import Tick
from tests.benchmarks import frames

NOW = 1_800_000_000


class House:
    """Lets prices above a floor be quiet."""

    def __init__(self) -> None:
        self.floor = 0

    def interval(self, symbol: str) -> Accepted | None:
        return Accepted(self.floor, 1 << 40, 0, float("inf"))

    def settle(self, symbol: str, ticks: Sequence[Tick], newest: int) -> None: ...

    def show(self, ticks: Sequence[Tick]) -> None: ...

    def show_behind(self, ticks: Sequence[Tick]) -> None: ...


@pytest.mark.parametrize("count", [20, 300], ids=["small", "large"])
def test_after_an_error_each_instrument_is_judged_one_by_one(count: int) -> None:
    universe, house = frames.Universe.of(count), House()
    board = Board(KiteColumns(), house)
    board.carry(dict(zip(universe.tokens, universe.symbols, strict=True)))
    told: list[bytes] = []

    def frame(stamp: int) -> bytes:
        return frames.kite_frame(random.Random(stamp), universe, universe.tokens, (), stamp)

    assert board.take(frame(NOW), NOW, told.append) == 0, "all are shut at first"
    assert board.take(frame(NOW + 1), NOW, told.append) == count

    def fail(_: bytes) -> None:
        raise RuntimeError("the decision failed")

    with pytest.raises(RuntimeError, match="the decision failed"):
        board.take(frame(NOW - 5), NOW, fail)  # older than the ones before: all are told
    house.floor = 1 << 39  # a stop that everything has passed is armed
    for symbol in universe.symbols:
        board.wake(symbol)
    told.clear()
    assert board.take(frame(NOW + 2), NOW, told.append) == 0
    assert len(told) == 1
