"""What a small frame is told apart by: keys and bounds on one line, and Kite's frames read for it."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.brokers.zerodha.columns import KiteColumns
from marketdata.brokers.zerodha.decode import decode
from marketdata.edges import Edges, key_of, loud_ones, mark, may_be_quiet
from tests.benchmarks import frames

WORDS = st.integers(0, (1 << 32) - 1)
BOUNDS = st.tuples(st.integers(-5, 1 << 34), st.integers(-5, 1 << 34))


@given(st.dictionaries(WORDS, BOUNDS, min_size=1, max_size=8), st.lists(WORDS, max_size=4), st.data())
def test_a_mark_is_found_between_its_own_bounds_only(
    bounds: dict[int, tuple[int, int]], strangers: list[int], data: st.DataObject
) -> None:
    keys = sorted(bounds)
    edges = Edges(keys)
    for slot, key in enumerate(keys):
        edges.put(slot, *bounds[key])
    near = [edge + by for pair in bounds.values() for edge in pair for by in (-1, 0, 1)]
    prices = [price for price in (*near, data.draw(WORDS), 0) if 0 <= price < (1 << 32) - 1]
    for key in (*keys, *strangers):
        for price in prices:
            low, high = bounds.get(key, (1, 0))
            [place] = edges.find(np.array([mark(key, price)], np.uint64))
            assert (place & 1) == (low <= price <= high)
            assert not place & 1 or keys[place >> 1] == key
            assert key_of(mark(key, price)) == key


@given(st.lists(st.integers(0, 1 << 20), max_size=40), st.sets(st.integers(0, 1 << 19), max_size=3))
def test_bytes_tell_which_marks_are_loud_and_whether_a_slot_has_a_quiet_one(
    places: list[int], slots: set[int]
) -> None:
    found = np.array(places, np.intp).tobytes()
    assert loud_ones(found) == [at for at, place in enumerate(places) if not place & 1]
    for slot in {*slots, *(place >> 1 for place in places)}:
        if 2 * slot + 1 in places:
            assert may_be_quiet(found, [slot])
    assert not may_be_quiet(found, [])
    assert not may_be_quiet(found, [1 << 40])


@pytest.mark.parametrize("brief", [0, 13, 40], ids=["full", "mixed", "brief"])
def test_small_frames_are_read_as_large_ones_are(brief: int) -> None:
    universe, reader, rng = frames.Universe.of(40), KiteColumns(), random.Random(3)
    tokens = universe.tokens
    frame = frames.kite_frame(rng, universe, tokens[brief:], tokens[:brief], 1_800_000_000)
    few, columns = reader.few(frame), reader.read(frame, 0.0)
    assert few is not None
    assert columns is not None
    marks = [mark(int(key), int(price)) for key, price in zip(columns.keys, columns.prices, strict=True)]
    assert few.marks.tolist() == marks
    assert reader.pick(frame, [2, 3, 39], few.each) == reader.pick(frame, [2, 3, 39])
    symbols = dict(zip(tokens, universe.symbols, strict=True))
    all_of_them = decode(frame, received_at=1.0, symbols=symbols).ticks
    picked = decode(reader.pick(frame, [2, 3, 39]), received_at=1.0, symbols=symbols).ticks
    assert picked == [all_of_them[at] for at in (2, 3, 39)]


@pytest.mark.parametrize("end", [-1, -200])
def test_a_frame_that_is_cut_off_is_no_small_one(end: int) -> None:
    universe = frames.Universe.of(30)
    frame = frames.kite_frame(random.Random(3), universe, universe.tokens, (), 1_800_000_000)
    assert KiteColumns().few(frame[:end]) is None
    assert KiteColumns().read(frame[:end], 0.0) is None
