"""The life of an order and of an exit: every legal change happens, and no other ever does."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.orders import OrderStatus, Outcome, RejectClass, RejectReason, WriteResult
from strategies.domain.events import (
    CancelAnswered,
    Circumstances,
    Event,
    Opened,
    Seen,
    TurnGiven,
    Unopened,
    Unread,
    Woken,
    Written,
)
from strategies.domain.exits import EXIT_TRANSITIONS, ORDER_TRANSITIONS, ExitState, OrderState
from strategies.domain.folding import booked as as_booked
from strategies.domain.record import Absence, ExitRecord, Memory, Moment, OrderRecord, State
from strategies.domain.steps import step
from tests.support.steps import NOW, TAG, TODAY, at, booked, exit_record, order, position, seen

O = OrderState  # noqa: E741 - a table of them is below
BOOK = {
    O.LIVE: booked("9", tag=TAG),
    O.FILLED: booked("9", OrderStatus.FILLED, filled=100, tag=TAG),
    O.CANCELLED: booked("9", OrderStatus.CANCELLED, tag=TAG),
    O.REJECTED: booked("9", OrderStatus.REJECTED, tag=TAG, reject_reason=RejectReason.MARGIN),
}
TOMORROW = Moment(NOW + 64_800, 70_000, TODAY + timedelta(days=1))
NEARLY_ABSENT = Memory(absences={TAG: Absence(0.0, reads=2)})


def written(outcome: Outcome, **fields: Any) -> Written:
    return Written(at(), TAG, WriteResult(outcome, **fields))


ACKED = written(Outcome.ACKED, order_id="9")
BY_BOOK = [
    (before, after, seen(book=[row]))
    for before, row_states in {
        O.SENDING: BOOK, O.UNKNOWN: BOOK, O.ACKED: BOOK, O.LOST: BOOK,
        O.LIVE: {O.FILLED, O.CANCELLED, O.REJECTED}, O.CANCELLING: {O.FILLED, O.CANCELLED, O.REJECTED},
        O.CANCELLED: {O.FILLED}, O.REJECTED: {O.FILLED, O.LIVE, O.CANCELLED},
    }.items()
    for after, row in BOOK.items() if after in row_states
]  # fmt: skip
TOO_LATE = seen(3, book=[booked("9", tag=TAG)])
CANCELLED_AT_ONCE = [
    (s, O.CANCELLING, TOO_LATE) for s in (O.SENDING, O.UNKNOWN, O.ACKED, O.LIVE, O.LOST, O.REJECTED)
]
BY_A_NEW_DAY = [(s, O.LOST, Woken(TOMORROW)) for s in (O.SENDING, O.UNKNOWN, O.ACKED, O.LIVE, O.CANCELLING)]
BY_OUR_OWN_HAND: list[tuple[OrderState, OrderState, Event]] = [
    (O.PLANNED, O.SENDING, Opened(at(), TAG)),
    (O.PLANNED, O.VOID, Woken(at(2.1))),
    (O.SENDING, O.VOID, written(Outcome.NOT_SENT)),
    (O.SENDING, O.UNKNOWN, written(Outcome.UNKNOWN)),
    (O.SENDING, O.ACKED, ACKED),
    (O.UNKNOWN, O.ACKED, ACKED),
    (O.UNKNOWN, O.LOST, seen(trades=[], positions=[position(100)])),
]
CHANGES = [*BY_BOOK, *CANCELLED_AT_ONCE, *BY_A_NEW_DAY, *BY_OUR_OWN_HAND]


@pytest.mark.parametrize(("before", "after", "event"), CHANGES)
def test_an_order_changes(before, after, event):
    state, _ = step(State(exit_record(order(before)), NEARLY_ABSENT), event)
    assert state.record.orders[0].state is after


def test_these_are_all_the_changes_there_are():
    legal = {(before, after) for before, states in ORDER_TRANSITIONS.items() for after in states}
    assert {(before, after) for before, after, _ in CHANGES} == legal


@pytest.mark.parametrize("before", OrderState)
@pytest.mark.parametrize("shown", BOOK)
def test_a_book_moves_no_order_where_it_may_not_go(before, shown):
    after = as_booked(order(before), BOOK[shown], at())
    assert after.state in {before} | ORDER_TRANSITIONS[before]
    if shown not in ORDER_TRANSITIONS[before]:
        assert after.state is before


def test_a_cancelled_order_does_not_come_back_to_life_but_what_it_filled_counts():
    before = order(O.CANCELLED, broker_order_id="9", filled=30, cancels=1)
    assert as_booked(before, booked("9"), at()) is before
    late = as_booked(before, booked("9", filled=60), at())
    assert (late.state, late.filled, late.exposure) == (O.CANCELLED, 60, 60)


# --- whatever happens ---------------------------------------------------------------------

RESULTS = st.builds(
    WriteResult,
    st.sampled_from(Outcome),
    st.sampled_from(["", "9"]),
    reject_class=st.sampled_from([None, *RejectClass]),
    reject_reason=st.sampled_from([None, *RejectReason]),
)
ROWS = st.builds(
    booked,
    st.sampled_from(["9", "8"]),
    st.sampled_from(OrderStatus),
    filled=st.sampled_from([0, 30, 100]),
    tag=st.sampled_from(["", TAG, TAG + "1", "TG0123456789ABCDEF"]),
)
MOMENTS = st.builds(at, st.floats(-5, 400)) | st.just(TOMORROW)
EVENTS = (
    st.builds(Woken, MOMENTS)
    | st.builds(TurnGiven, MOMENTS)
    | st.builds(Unread, MOMENTS, st.just("502"))
    | st.builds(Opened, MOMENTS, st.just(TAG))
    | st.builds(Unopened, MOMENTS, st.just(TAG), st.just("refused"))
    | st.builds(Written, MOMENTS, st.just(TAG), RESULTS)
    | st.builds(CancelAnswered, MOMENTS, st.just(TAG))
    | st.builds(
        seen,
        st.floats(-5, 400),
        book=st.lists(ROWS, max_size=3),
        positions=st.lists(st.builds(position, st.sampled_from([-100, 0, 60, 100])), max_size=1),
        plan=st.booleans(),
        trades=st.sampled_from([None, ()]),
        is_trading=st.booleans(),
    )
)


def orders_of(states: list[OrderState]) -> list[OrderRecord]:
    made = [order(state, tag=TAG + str(n) * bool(n), try_no=n + 1) for n, state in enumerate(states)]
    return made[:1] if made and made[0].is_open else made


@given(
    st.lists(st.sampled_from(OrderState), max_size=3),
    st.sampled_from(ExitState),
    st.lists(EVENTS, min_size=1, max_size=6),
)
def test_no_event_brings_about_an_illegal_change(states, exit_state, events):
    state = State(exit_record(*orders_of(states), state=exit_state))
    for number, event in enumerate(events):
        after, commands = step(state, with_tag(event, f"NEW{number}"))
        assert commands
        assert_legal(state.record, after.record)
        state = after


def with_tag(event: Event, tag: str) -> Event:
    if isinstance(event, Seen) and event.around:
        return replace(event, around=Circumstances(new_tag=tag))
    return event


def assert_legal(before: ExitRecord, after: ExitRecord) -> None:
    assert after.state in {before.state} | EXIT_TRANSITIONS[before.state]
    for known in before.orders:
        now = after.order(known.tag)
        assert now is not None
        assert now.state in {known.state} | ORDER_TRANSITIONS[known.state]
        assert now.filled >= known.filled, "what is filled stays filled"
        assert (now.quantity, now.side, now.product) == (known.quantity, known.side, known.product)


def test_nobody_is_told_twice_of_the_same_breach():
    fresh = State(exit_record(state=ExitState.TRIGGERED))
    asked, _ = step(fresh, Unread(at(0), "502"))
    asked, _ = step(asked, Unread(at(3), "502"))
    assert asked.record.state is ExitState.NEEDS_HUMAN
    after, _ = step(asked, seen(4, positions=[position(100)]))
    assert after.record.state is ExitState.WORKING
