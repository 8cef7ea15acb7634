"""The one request of an order: what permits it, and what its end means."""

from __future__ import annotations

import pytest

from marketdata.domain.orders import Outcome, RejectReason, WriteResult
from strategies.domain.events import (
    Opened,
    OpenWire,
    ReadAccount,
    Rest,
    SendOrder,
    TakeTurn,
    Unanswered,
    Unopened,
    Unread,
    Woken,
    Written,
)
from strategies.domain.exits import OrderState
from strategies.domain.record import State, Trouble
from strategies.domain.steps import step
from strategies.domain.trying import Later, next_try
from tests.support.steps import NOW, TAG, at, exit_record, order, seen

PLANNED = State(exit_record(order(OrderState.PLANNED, sent_at=None)))
SENT = State(exit_record(order(OrderState.SENDING)))


def test_the_permit_says_when():
    after, commands = step(PLANNED, Opened(at(1.5), TAG))
    assert (after.record.orders[0].sent_at, commands) == (NOW + 1.5, (SendOrder(TAG),))


@pytest.mark.parametrize("late", [2.01, 60, -0.01])
def test_an_old_plan_is_not_permitted(late):
    after, commands = step(PLANNED, Opened(at(late), TAG))
    assert (after.record.orders, commands) == (PLANNED.record.orders, (Rest(0.0),))


@pytest.mark.parametrize("state", [s for s in OrderState if s is not OrderState.PLANNED])
def test_nothing_is_permitted_twice(state):
    before = State(exit_record(order(state)))
    after, commands = step(before, Opened(at(), TAG))
    assert (after.record.orders, commands) == (before.record.orders, (Rest(0.0),))


def test_nor_what_is_not_known():
    assert step(PLANNED, Opened(at(), "TGX"))[1] == (Rest(0.0),)


@pytest.mark.parametrize("state", [s for s in OrderState if s not in (OrderState.PLANNED, OrderState.VOID)])
def test_waking_up_never_sends(state):
    """Whatever is found after a crash: it is looked, asked or waited, and no wire is opened."""
    before = State(exit_record(order(state, cancel_asked_at=NOW, filled=100 * (state is OrderState.FILLED))))
    _, commands = step(before, Woken(at()))
    assert not any(isinstance(command, OpenWire | SendOrder) for command in commands)


def test_a_fresh_plan_is_carried_on_after_a_restart():
    assert step(PLANNED, Woken(at(1)))[1] == (OpenWire(TAG),)


def test_a_lost_order_beside_a_fill_is_looked_for_once_more():
    lost, filled = order(OrderState.LOST), order(OrderState.FILLED, tag="TG2", try_no=2, filled=100)
    assert step(State(exit_record(lost, filled)), Woken(at()))[1] == (ReadAccount(),)


# --- not sent -----------------------------------------------------------------------------


def test_what_surely_did_not_leave_is_tried_again_at_once_as_another_order():
    result = WriteResult(Outcome.NOT_SENT, message="refused")
    after, commands = step(SENT, Written(at(), TAG, result))
    [order_] = after.record.orders
    assert (order_.state, order_.message, commands) == (OrderState.VOID, "refused", (Rest(0.25),))
    assert isinstance(step(after, Woken(at(0.25)))[1][0], TakeTurn)


def test_the_rest_before_the_next_try_grows_to_five_seconds():
    state, rests = PLANNED, []
    for number in range(8):
        state, [rest] = step(state, Unopened(at(number / 10), TAG, "refused"))
        assert isinstance(rest, Rest)
        rests.append(rest.seconds)
    assert rests == [0.25, 0.5, 1, 2, 4, 5, 5, 5]
    state, _ = step(state, Unopened(at(2), TAG, "still refused"))
    assert "The exit order cannot be sent: refused" in state.record.concern, "as it was first said"


def test_a_reply_that_takes_long_is_told_of():
    after, commands = step(SENT, Unanswered(at(2)))
    assert (after.record.orders, commands) == (SENT.record.orders, (Rest(0.0),))
    assert after.record.concern
    assert step(after, Written(at(3), TAG, WriteResult(Outcome.ACKED, "9")))[0].record.concern == ""


@pytest.mark.parametrize("outcome", [Outcome.ACKED, Outcome.UNKNOWN, Outcome.REJECTED])
def test_an_answer_ends_the_trouble(outcome):
    troubled = SENT.remembering(unsent=Trouble(0.0, "refused"))
    result = WriteResult(outcome, "9", reject_reason=RejectReason.MARGIN)
    assert step(troubled, Written(at(), TAG, result))[0].memory.unsent is None


# --- reading ------------------------------------------------------------------------------


def test_what_cannot_be_read_is_asked_for_again_and_told_of_after_two_seconds():
    state, commands = step(SENT, Unread(at(0), "502"))
    assert (commands, state.record.concern) == ((Rest(0.25),), "")
    state, commands = step(state, Unread(at(1.9), "502"))
    assert (commands, state.record.concern) == ((Rest(0.25),), "")
    state, commands = step(state, Unread(at(2), "503"))
    assert commands == (Rest(1.0),)
    assert state.record.concern == "The broker cannot be read: 502. Trying again all the time."
    assert step(state, seen(3))[0].memory.unread is None


def test_a_read_that_took_its_time_to_fail_is_told_of_at_once():
    state, _ = step(SENT, Unread(at(10), "timed out", since=at().elapsed))
    assert "cannot be read: timed out" in state.record.concern


@pytest.mark.parametrize(("after_s", "pace"), [(0, 1), (10, 1), (10.1, 3), (3600, 3)])
def test_an_unknown_order_is_looked_for_every_second_then_every_three(after_s, pace):
    unknown = State(exit_record(order(OrderState.UNKNOWN)))
    assert step(unknown, seen(after_s))[1][-1] == Rest(pace)


def test_an_unknown_order_is_looked_for_with_trades():
    unknown = State(exit_record(order(OrderState.UNKNOWN)))
    assert step(unknown, Woken(at()))[1] == (ReadAccount(trades=True),)
    live = State(exit_record(order(OrderState.LIVE)))
    assert step(live, Woken(at()))[1] == (ReadAccount(),)


def test_while_another_part_is_looked_for_patience_is_not_longer_than_the_pace():
    parts = [
        order(OrderState.UNKNOWN, quantity=50, sent_at=NOW - 60),
        order(
            OrderState.REJECTED, tag="TG2", slice_no=2, quantity=50, reject_reason=RejectReason.RATE,
            reject_class=RejectReason.RATE.reject_class,
        ),
    ]  # fmt: skip
    state = State(exit_record(*parts))
    assert next_try(state.record, at()) == Later(1.0)
    assert step(state, seen(0))[1][-1] == Rest(1.0)
