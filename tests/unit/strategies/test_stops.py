"""The book of stops, against a plain list."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.domain.rules import NO_CEILING, NO_FLOOR, FixedStop
from strategies.domain.stopbook import StopBook
from strategies.domain.stops import Stop


def empty() -> StopBook:
    return StopBook(1, "NSE:INFY", {})


def stop(strategy_id: int, price: int, *, long: bool = True, epoch: int = 1) -> Stop:
    return Stop(strategy_id, epoch, 1, "NSE:INFY", FixedStop(price, long), 10)


def test_an_empty_book_lets_every_price_pass():
    book = empty()
    assert (book.floor, book.ceiling) == (NO_FLOOR, NO_CEILING)
    assert book.take(1) == []


def test_bounds_follow_arming_and_disarming():
    book = empty()
    book.arm(stop(1, 90))
    book.arm(stop(2, 95))
    book.arm(stop(3, 110, long=False))
    assert (book.floor, book.ceiling) == (95, 110)
    book.disarm(2)
    book.disarm(3)
    assert (book.floor, book.ceiling) == (90, NO_CEILING)


def test_a_stop_is_taken_once():
    book = empty()
    book.arm(stop(1, 100))
    assert [s.strategy_id for s in book.take(100)] == [1]
    assert book.take(100) == []


def test_arming_again_replaces_the_earlier_stop():
    book = empty()
    book.arm(stop(1, 100))
    book.arm(stop(1, 90, epoch=2))
    assert book.take(95) == []
    assert [s.epoch for s in book.take(90)] == [2]


def test_rearming_at_the_same_price_hits_once():
    book = empty()
    book.arm(stop(1, 100))
    book.disarm(1)
    book.arm(stop(1, 100, epoch=2))
    assert [s.epoch for s in book.take(99)] == [2]
    assert not book


def test_turning_a_long_stop_into_a_short_one_forgets_the_long():
    book = empty()
    book.arm(stop(1, 100))
    book.arm(stop(1, 100, long=False, epoch=2))
    assert book.floor == NO_FLOOR
    assert [s.epoch for s in book.take(100)] == [2]


def test_stops_are_taken_in_the_order_a_falling_or_rising_price_meets_them():
    book = empty()
    for pk, price in enumerate((95, 100, 98, 100), start=1):
        book.arm(stop(pk, price))
    assert [s.strategy_id for s in book.take(96)] == [4, 2, 3]
    for pk, price in enumerate((105, 102, 102), start=10):
        book.arm(stop(pk, price, long=False))
    assert [s.strategy_id for s in book.take(110)] == [11, 12, 10]


def test_a_stop_that_is_moved_all_day_leaves_nothing_behind():
    book = empty()
    book.arm(stop(2, 5_000))
    for epoch in range(1, 2_000):
        book.arm(stop(1, epoch, epoch=epoch))
    assert len(list(book._floors)) == 2
    assert (book.floor, len(book.stops())) == (5_000, 2)
    assert [s.epoch for s in book.take(1)] == [1, 1_999]


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(1, 12), st.integers(1, 30), st.booleans()),
        st.tuples(st.just("disarm"), st.integers(1, 12)),
        st.tuples(st.just("price"), st.integers(1, 30)),
    ),
    max_size=80,
)


def compare_with_a_plain_list(actions) -> None:
    book, armed, epoch = empty(), {}, 0
    for action, *args in actions:
        if action == "arm":
            epoch += 1
            new = stop(args[0], args[1], long=args[2], epoch=epoch)
            armed[new.strategy_id] = new
            book.arm(new)
        elif action == "disarm":
            armed.pop(args[0], None)
            book.disarm(args[0])
        else:
            hit = {s for s in armed.values() if s.rule.judge(args[0], None).is_hit}
            assert (not book.floor < args[0] < book.ceiling) == bool(hit)
            assert set(book.reached(args[0])) == hit
            assert set(book.take(args[0])) == hit
            armed = {pk: s for pk, s in armed.items() if s not in hit}
        assert set(book.stops()) == set(armed.values())


@given(ACTIONS)
def test_the_book_agrees_with_a_plain_list(actions):
    compare_with_a_plain_list(actions)


@pytest.mark.parametrize("seed", range(4))
def test_it_still_agrees_after_a_long_day(seed):
    rng = random.Random(seed)
    choices = (  # most prices touch few stops, so that moved ones pile up
        lambda: ("arm", rng.randint(1, 20), rng.randint(1, 500), True),
        lambda: ("arm", rng.randint(21, 40), rng.randint(501, 1_000), False),
        lambda: ("disarm", rng.randint(1, 40)),
        lambda: ("price", rng.randint(450, 550)),
        lambda: ("price", rng.randint(200, 800)),
    )
    compare_with_a_plain_list([rng.choices(choices, (60, 60, 6, 3, 1))[0]() for _ in range(4_000)])


def test_a_stop_that_remembers_more_is_the_same_stop():
    early, late = (Stop(1, 1, 1, "NSE:INFY", FixedStop(100, True), 10, memory) for memory in (None, 7))
    assert early == late
