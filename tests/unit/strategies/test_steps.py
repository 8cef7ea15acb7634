"""An exit, step by step, without a database and without a broker."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.orders import (
    OrderSnapshot,
    OrderStatus,
    Outcome,
    RejectClass,
    RejectReason,
    Side,
    WriteResult,
)
from strategies.domain.events import (
    CancelOrder,
    Circumstances,
    End,
    Opened,
    OpenWire,
    ReadAccount,
    Rest,
    SendOrder,
    TakeTurn,
    TurnGiven,
    Unread,
    Woken,
    Written,
)
from strategies.domain.exits import EXIT_TRANSITIONS, ORDER_TRANSITIONS, ExitState, OrderState
from strategies.domain.folding import row_of, state_in_book
from strategies.domain.ordering import POLL_S, has_room
from strategies.domain.record import OrderRecord, State
from strategies.domain.steps import step
from strategies.domain.tags import is_ours, new_tag
from strategies.domain.trying import MAX_ATTEMPTS
from tests.support.steps import NOW, SYMBOL, TAG, at, booked, exit_record, order, position, seen

ACKED = WriteResult(Outcome.ACKED, "9")


def test_a_new_exit_takes_its_turn_reads_the_account_and_plans():
    state = State(exit_record(loss_rate=7))
    state, commands = step(state, Woken(at()))
    assert commands == (TakeTurn(7),)
    state, commands = step(state, TurnGiven(at()))
    assert commands == (ReadAccount(anew=False, for_plan=True),)
    state, commands = step(state, seen(positions=[position(100)], plan=True))
    assert commands == (OpenWire(TAG),)
    [planned] = state.record.orders
    assert (planned.state, planned.quantity, planned.side, planned.price) == (
        OrderState.PLANNED, 100, Side.SELL, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("held", "sends"), [(100, 40), (40, 40), (140, 40)], ids=["behind", "caught up", "conversion"]
)
def test_a_position_that_does_not_show_its_fills_is_not_sold_twice(held, sends):
    """Sixty of a hundred were sold for another exit, the book says so, and the position does not yet."""
    around = Circumstances(new_tag=TAG, openings={(SYMBOL, "MIS"): 100})
    sold = booked("7", OrderStatus.FILLED, filled=60, quantity=60)
    account = seen(book=[sold], positions=[position(held)], around=around)
    state, commands = step(State(exit_record()), account)
    assert commands == (OpenWire(TAG),)
    [planned] = state.record.orders
    assert (planned.quantity, planned.opening) == (sends, 100)
    assert has_room(planned, exit_record(), account, ())
    assert not has_room(replace(planned, quantity=41), exit_record(), account, ())


def test_nothing_is_called_closed_because_the_position_is_behind():
    around = Circumstances(new_tag=TAG, openings={(SYMBOL, "MIS"): 100})
    sold = booked("7", OrderStatus.FILLED, filled=100)
    account = seen(book=[sold], positions=[position(100)], around=around)
    state, commands = step(State(exit_record()), account)
    assert commands == (Rest(POLL_S),)
    assert not state.record.orders
    assert not state.record.state.is_final


def test_a_fresh_plan_is_permitted_and_an_old_one_is_void():
    state = State(exit_record(order(OrderState.PLANNED)))
    after, commands = step(state, Opened(at(1), TAG))
    assert commands == (SendOrder(TAG),)
    assert after.record.orders[0].state is OrderState.SENDING
    for late in (2.1, -1):  # too old, or made before the clock was set back
        after, _ = step(state, Woken(at(late)))
        assert after.record.orders[0].state is OrderState.VOID


@pytest.mark.parametrize("after_s", [0, 10, 3600])
def test_a_send_that_was_interrupted_is_unknown_and_looked_for(after_s):
    after, commands = step(State(exit_record(order(OrderState.SENDING))), Woken(at(after_s)))
    assert after.record.orders[0].state is OrderState.UNKNOWN
    assert TAG in after.record.concern
    assert commands == (ReadAccount(trades=True),)


def test_a_reply_that_was_lost_is_told_of_at_once():
    lost = WriteResult(Outcome.UNKNOWN, message="connection reset")
    after, commands = step(State(exit_record(order(OrderState.SENDING))), Written(at(), TAG, lost))
    assert after.record.orders[0].state is OrderState.UNKNOWN
    assert after.record.state is ExitState.NEEDS_HUMAN
    assert commands == (ReadAccount(trades=True),)


def test_a_resting_order_becomes_a_concern_and_is_priced_anew():
    live = State(exit_record(order(OrderState.LIVE, broker_order_id="9")))
    _, commands = step(live, seen(2, book=[booked("9")]))
    assert commands == (Rest(1.0),)
    after, commands = step(live, seen(3, book=[booked("9")]))
    assert commands == (CancelOrder(TAG, "9"),)
    assert after.record.orders[0].state is OrderState.CANCELLING
    assert after.record.orders[0].cancels == 1


def test_nothing_is_priced_anew_before_the_old_order_has_ended():
    going = order(OrderState.CANCELLING, broker_order_id="9", cancels=1, cancel_asked_at=NOW)
    state = State(exit_record(going))
    for late in (0.5, 2.9):
        _, commands = step(state, seen(late, book=[booked("9")]))
        assert commands == (Rest(1.0),)
    _, commands = step(state, seen(3, book=[booked("9")]))
    assert commands == (CancelOrder(TAG, "9"),)
    _, commands = step(state, seen(1, book=[booked("9", OrderStatus.CANCELLED)]))
    assert isinstance(commands[0], TakeTurn)


def test_filled_is_done():
    after, commands = step(
        State(exit_record(order(OrderState.ACKED, broker_order_id="9"))), seen(book=[filled()])
    )
    assert after.record.state is ExitState.DONE
    assert commands == (End(is_flat=True),)


def filled(quantity: int = 100) -> OrderSnapshot:
    return booked("9", OrderStatus.FILLED, filled=quantity, quantity=quantity)


def test_a_shorter_fill_leaves_the_rest_to_be_planned():
    short = order(OrderState.ACKED, quantity=60, broker_order_id="9")
    after, commands = step(State(exit_record(short)), seen(book=[filled(60)]))
    assert after.record.missing == 40
    assert isinstance(commands[0], TakeTurn)


def test_an_order_cancelled_by_somebody_else_is_not_sent_again_without_a_person():
    cancelled = order(OrderState.CANCELLED, filled=30, broker_order_id="9")
    after, commands = step(State(exit_record(cancelled)), seen(positions=[position(70)], plan=True))
    assert "30 of 100" in after.record.concern
    assert commands == (Rest(30.0),)


def refusal(reason: RejectReason) -> WriteResult:
    return WriteResult(Outcome.REJECTED, "", "in the broker's words", reason.reject_class, reason)


def test_a_refusal_is_believed_once_the_book_agrees():
    state, commands = step(
        State(exit_record(order(OrderState.SENDING))), Written(at(), TAG, refusal(RejectReason.MARGIN))
    )
    assert commands == (ReadAccount(trades=True),)
    assert state.record.orders[0].state is OrderState.SENDING
    booked_after_all, _ = step(state, seen(book=[booked("9", tag=TAG)]))
    assert booked_after_all.record.orders[0].state is OrderState.LIVE
    refused, _ = step(state, seen(positions=[position(100)], trades=()))
    assert refused.record.orders[0].state is OrderState.REJECTED
    assert "not enough margin" in refused.record.concern
    assert "in the broker's words" in refused.record.concern


@pytest.mark.parametrize("sign", ["position", "another order"])
def test_a_refusal_is_not_believed_on_a_book_that_something_speaks_against(sign):
    """Brokers have refused what they had booked, while their books stood still."""
    sending = State(exit_record(order(OrderState.SENDING)))
    state, _ = step(sending, Written(at(), TAG, refusal(RejectReason.RATE)))
    held = position(40 if sign == "position" else 100)
    known = (
        [order(OrderState.FILLED, tag="TG9", broker_order_id="8", filled=60)] if sign != "position" else ()
    )
    for after_s, believed in ((0.5, OrderState.SENDING), (2.0, OrderState.UNKNOWN)):
        state, _ = step(state, seen(after_s, positions=[held], trades=(), known=known))
        assert state.record.orders[0].state is believed
    assert "has not confirmed it" in state.record.concern


@pytest.mark.parametrize("asked_again_s", [None, 5.0])
def test_a_position_that_moves_after_a_refusal_holds_up_the_next_order(asked_again_s):
    """Refused, and taken all the same: the book stands still, the position shows it."""
    refused = order(
        OrderState.REJECTED, tag="TG1", reject_class=RejectClass.WAIT, reject_reason=RejectReason.RATE
    )
    asked = None if asked_again_s is None else NOW + asked_again_s
    state = State(exit_record(refused, resumed_at=asked))
    state, commands = step(state, seen(6, positions=[position(40)], plan=True))
    assert commands == (Rest(POLL_S),)
    state, _ = step(state, seen(9, positions=[position(40)], plan=True))
    assert len(state.record.orders) == 1
    assert "may have taken it all the same" in state.record.concern
    state, commands = step(state, seen(10, positions=[position(100)], plan=True))  # its book was behind
    assert commands == (OpenWire(TAG),)


def test_a_refusal_that_no_book_confirms_is_unknown():
    state, _ = step(
        State(exit_record(order(OrderState.SENDING))), Written(at(), TAG, refusal(RejectReason.BAN))
    )
    state, _ = step(state, Unread(at(9), "502"))
    assert state.record.orders[0].state is OrderState.SENDING
    state, _ = step(state, Unread(at(10), "502"))
    assert state.record.orders[0].state is OrderState.UNKNOWN


def rejected(reason: RejectReason, number: int = 1) -> OrderRecord:
    return order(
        OrderState.REJECTED,
        tag=f"{TAG}{number}",
        try_no=number,
        reject_class=reason.reject_class,
        reject_reason=reason,
    )


def test_what_can_be_mended_is_tried_three_times_a_second_apart():
    for tries in (1, 2, 3):
        state = State(exit_record(*(rejected(RejectReason.TICK, n) for n in range(tries))))
        assert step(state, Woken(at(0.5)))[1] == (Rest(0.5),)
        assert isinstance(step(state, Woken(at(1)))[1][0], TakeTurn)
    state = State(exit_record(*(rejected(RejectReason.TICK, n) for n in range(4))))
    assert step(state, Woken(at(1)))[1] == (ReadAccount(for_plan=True),)


@pytest.mark.parametrize(("tries", "pause"), [(1, 1), (2, 2), (3, 5), (4, 5), (40, 5)])
def test_a_refusal_that_asks_for_patience_gets_it_and_is_never_the_end(tries, pause):
    state = State(exit_record(*(rejected(RejectReason.RATE, n) for n in range(tries))))
    assert step(state, Woken(at(pause - 0.25)))[1] == (Rest(0.25),)
    assert isinstance(step(state, Woken(at(pause)))[1][0], TakeTurn)
    assert isinstance(step(state, Woken(at(-3600)))[1][0], TakeTurn), "the clock was set back"


@pytest.mark.parametrize("set_back_s", [0.5, 600.0])
def test_a_clock_that_was_set_back_does_not_hold_up_the_next_try(set_back_s):
    """It once asked for rests of no length until the clock had caught up: nothing else had a turn."""
    cancelled = order(OrderState.CANCELLED, cancels=1, changed_at=NOW + set_back_s)
    _, commands = step(State(exit_record(cancelled)), Woken(at()))
    assert commands == (TakeTurn(0),)


def test_a_book_that_says_filled_without_the_quantity_has_not_caught_up():
    row = booked("9", OrderStatus.FILLED, filled=60)
    assert state_in_book(row) is OrderState.LIVE
    assert state_in_book(replace(row, filled_quantity=100)) is OrderState.FILLED


def test_attempts_are_capped():
    tries = [
        order(OrderState.CANCELLED, tag=f"{TAG}{n}", try_no=n, cancels=1) for n in range(1, MAX_ATTEMPTS + 1)
    ]
    state = State(exit_record(*tries))
    assert step(state, Woken(at()))[1] == (ReadAccount(for_plan=True),)


STATES = st.sampled_from(OrderState)


@given(st.lists(st.tuples(STATES, st.integers(0, 100)), max_size=6), st.floats(0, 1e5))
def test_nothing_new_while_anything_may_be_live(orders, after_s):
    rows = tuple(
        order(state, filled=filled, tag=f"{TAG}{n}", try_no=n, sent_at=NOW, planned_at=NOW)
        for n, (state, filled) in enumerate(orders)
    )
    record = exit_record(*rows)
    after, commands = step(State(record), Woken(at(after_s)))
    may_be_live = [row for row in rows if row.is_open and row.state is not OrderState.PLANNED]
    if may_be_live:
        assert not any(isinstance(command, TakeTurn | End) for command in commands) or record.missing > 0
    assert after.record.exposure <= max(record.exposure, record.quantity)


def test_no_way_leads_back_to_planned_or_into_sending_but_from_planned():
    before = {to: [s for s, after in ORDER_TRANSITIONS.items() if to in after] for to in OrderState}
    assert before[OrderState.PLANNED] == []
    assert before[OrderState.SENDING] == [OrderState.PLANNED]
    assert OrderState.VOID not in ORDER_TRANSITIONS[OrderState.UNKNOWN]


def test_ends_are_ends():
    assert all(not EXIT_TRANSITIONS[state] for state in ExitState if state.is_final)
    assert not ORDER_TRANSITIONS[OrderState.FILLED]


def test_an_order_is_found_by_id_or_by_tag_and_never_by_an_empty_one():
    row = booked("9", tag=TAG)
    ours = order(OrderState.UNKNOWN)
    assert row_of(ours, [row]) == row
    assert row_of(replace(ours, tag="TG1", broker_order_id="9"), [row]) == row
    assert row_of(replace(ours, tag=""), [replace(row, order_id="", tag="")]) is None


def test_tags_are_short_plain_and_ours():
    tags = {new_tag(date(2026, 11, 23), random.Random(seed)) for seed in range(200)}
    assert len(tags) == 200
    assert all(is_ours(tag) and len(tag) == 18 and tag.isalnum() and tag == tag.upper() for tag in tags)
    assert not is_ours("TGmine")


def test_reject_classes_follow_reasons():
    assert rejected(RejectReason.MARGIN).reject_class is RejectClass.HUMAN
