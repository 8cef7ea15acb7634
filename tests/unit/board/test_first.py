"""In a small frame what may decide is told before anything else is looked at."""

from __future__ import annotations

import random
from collections.abc import Sequence

from marketdata.board import Board
from marketdata.brokers.zerodha.columns import KiteColumns
from marketdata.brokers.zerodha.decode import decode
from marketdata.domain.gate import TICK_MAX_AGE, Accepted
from marketdata.domain.ticks import Tick
from tests.benchmarks import frames

NOW = 1_800_000_000
COUNT = 30
STALE, FALLEN = 4, 20


class House:
    """Lets prices above the first stop be quiet."""

    def interval(self, symbol: str) -> Accepted | None:
        return Accepted(frames.stop_units(0) + 1, 1 << 50, 0, float("inf"))

    def settle(self, symbol: str, ticks: Sequence[Tick], newest: int) -> None: ...

    def show(self, ticks: Sequence[Tick]) -> None: ...

    def show_behind(self, ticks: Sequence[Tick]) -> None: ...


def frame(universe: frames.Universe, stamp: int, *, fallen: bool = False) -> bytes:
    """Return a frame of all instruments; where one has fallen, another one's packet is old."""
    tokens, rng = universe.tokens, random.Random(stamp)
    if not fallen:
        return frames.kite_frame(rng, universe, tokens, (), stamp)
    hit = {tokens[FALLEN]: frames.STOP * 100}
    fresh = frames.kite_frame(rng, universe, [t for t in tokens if t != tokens[STALE]], (), stamp, hit)
    old = frames.kite_frame(rng, universe, [tokens[STALE]], (), stamp - TICK_MAX_AGE - 5)
    return COUNT.to_bytes(2, "big") + old[2:] + fresh[2:]


def test_a_price_that_may_touch_a_stop_is_told_before_one_that_is_merely_old() -> None:
    universe = frames.Universe.of(COUNT)
    board, told = Board(KiteColumns(), House()), list[bytes]()
    symbols = dict(zip(universe.tokens, universe.symbols, strict=True))
    board.carry(symbols)
    for stamp in (NOW, NOW + 1):
        board.take(frame(universe, stamp), stamp, told.append)
    told.clear()
    assert board.take(frame(universe, NOW + 2, fallen=True), NOW + 2, told.append) == COUNT - 2
    named = [[t.symbol for t in decode(one, received_at=0.0, symbols=symbols).ticks] for one in told]
    assert named == [[universe.symbols[FALLEN]], [universe.symbols[STALE]]]
