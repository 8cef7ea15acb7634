"""Whether an order is sent again after one got lost: once, by itself, and never on a guess."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from marketdata.domain.orders import Outcome, RejectReason, WriteResult
from strategies.domain.events import Command, ReadAccount, Rest, TakeTurn, Woken, Written
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.record import ExitRecord, Moment, State, Terms
from strategies.domain.steps import step
from strategies.domain.trying import DAY_ENDED, Ask, Go, next_try
from tests.support.steps import NOW, TAG, TODAY, at, booked, exit_record, order, position, seen

LOST = order(OrderState.LOST, tag="TG1", message="not at the broker")
SECOND = order(OrderState.LOST, tag="TG2", try_no=2, message="not at the broker", planned_at=NOW + 20)
DAY_OVER = order(OrderState.LOST, tag="TG1", message=f"{DAY_ENDED} before its fate was known")
TOMORROW = Moment(NOW + 64_800, 70_000.0, TODAY + timedelta(days=1))


def woken(record: ExitRecord) -> tuple[ExitRecord, Command]:
    """Wake an exit and let it look at an empty book where it wants to."""
    state, [command] = step(State(record), Woken(at(30)))
    if command == ReadAccount():
        state, [command] = step(state, seen(30, positions=[position(100)]))
    return state.record, command


def test_after_strong_evidence_it_is_sent_once_more():
    assert isinstance(woken(exit_record(LOST))[1], TakeTurn)
    assert next_try(exit_record(LOST), at(30)) == Go(1, 2, 100)


def test_and_never_a_third_time():
    verdict = next_try(exit_record(LOST, SECOND), at(30))
    assert isinstance(verdict, Ask)
    assert "TG2 was lost" in verdict.reason


def test_nor_for_another_part_of_the_exit():
    other = replace(SECOND, slice_no=2, try_no=1)
    filled = order(OrderState.FILLED, tag="TG3", try_no=2, filled=100)
    assert isinstance(next_try(exit_record(LOST, filled, other, quantity=200), at(30)), Ask)


def test_an_account_can_forbid_it():
    record = exit_record(LOST, terms=Terms(may_resend=False))
    verdict = next_try(record, at(30))
    assert isinstance(verdict, Ask)
    assert "not sent again without you" in verdict.reason
    asked, command = woken(record)
    assert command == ReadAccount(for_plan=True), "it is looked whether the person closes by hand"
    assert asked.orders == record.orders


def test_a_day_that_ended_is_no_evidence():
    assert isinstance(next_try(exit_record(DAY_OVER), at(30)), Ask)


@pytest.mark.parametrize(
    "state",
    [OrderState.SENDING, OrderState.UNKNOWN, OrderState.ACKED, OrderState.LIVE, OrderState.CANCELLING],
)
def test_what_was_open_when_its_day_ended_is_for_a_person(state):
    open_one = order(state, broker_order_id="9", filled=30, cancel_asked_at=NOW)
    after, commands = step(State(exit_record(open_one)), Woken(TOMORROW))
    [ended] = after.record.orders
    assert (ended.state, ended.filled) == (OrderState.LOST, 30)
    assert ended.message.startswith(DAY_ENDED)
    assert commands == (ReadAccount(for_plan=True),)
    after, commands = step(after, replace(seen(positions=[position(70)], plan=True), at=TOMORROW))
    assert commands == (Rest(30.0),)
    assert "not sent again without you" in after.record.concern
    assert after.record.state is ExitState.NEEDS_HUMAN


def test_a_planned_order_of_yesterday_was_never_sent_and_needs_nobody():
    after, commands = step(State(exit_record(order(OrderState.PLANNED, sent_at=None))), Woken(TOMORROW))
    assert after.record.orders[0].state is OrderState.VOID
    assert isinstance(commands[0], TakeTurn)


# --- a person says "again" ----------------------------------------------------------------


@pytest.mark.parametrize("lost", [(LOST, SECOND), (DAY_OVER,)])
def test_a_person_may_have_it_sent_again(lost):
    record = exit_record(*lost, resumed_at=NOW + 25, resumed_after=len(lost))
    assert next_try(record, at(30)) == Go(1, len(lost) + 1, 100)
    assert isinstance(woken(replace(record, terms=Terms(may_resend=False)))[1], TakeTurn)


def test_but_from_then_on_nothing_that_gets_lost_is_sent_by_itself():
    third = order(OrderState.LOST, tag="TG3", try_no=2, planned_at=NOW + 26, sent_at=NOW + 26)
    again = exit_record(LOST, third, resumed_at=NOW + 25, resumed_after=1)
    assert isinstance(next_try(again, at(40)), Ask)


def test_an_unknown_order_is_let_go_by_a_person_and_a_book_that_agrees():
    unknown = order(OrderState.UNKNOWN)
    record = exit_record(unknown, resumed_at=NOW + 5)
    state, _ = step(State(record), seen(9, positions=[position(100)], trades=()))
    assert state.record.orders[0].state is OrderState.UNKNOWN, "the broker may be slow to show it"
    state, _ = step(State(record), seen(10, positions=[position(100)], trades=()))
    assert state.record.orders[0].state is OrderState.LOST
    state, _ = step(State(record), seen(10, positions=[position(100)]))
    assert state.record.orders[0].state is OrderState.UNKNOWN, "the trades were not read"
    state, _ = step(State(record), seen(10, book=[booked("9", tag=TAG)]))
    assert state.record.orders[0].broker_order_id == "9", "the book does not agree"


def test_a_book_read_before_the_person_spoke_does_not_agree():
    record = exit_record(order(OrderState.UNKNOWN), resumed_at=NOW + 5)
    old = replace(seen(4, positions=[position(100)]), at=at(6))
    state, _ = step(State(record), old)
    assert state.record.orders[0].state is OrderState.UNKNOWN


def test_what_was_sent_after_the_person_spoke_is_not_let_go():
    record = exit_record(order(OrderState.UNKNOWN, sent_at=NOW + 6), resumed_at=NOW + 5)
    state, _ = step(State(record), seen(7, positions=[position(100)]))
    assert state.record.orders[0].state is OrderState.UNKNOWN


def test_what_a_person_has_not_seen_to_be_unknown_is_not_let_go():
    """They spoke while the request was on its way."""
    unknown = order(OrderState.UNKNOWN, changed_at=NOW + 10)
    record = exit_record(unknown, resumed_at=NOW + 3)
    state, _ = step(State(record), seen(20, positions=[position(100)], trades=()))
    assert state.record.orders[0].state is OrderState.UNKNOWN


def test_one_that_was_accepted_and_never_seen_is_let_go_by_a_person_only():
    acked = order(OrderState.ACKED, broker_order_id="9")
    state, _ = step(State(exit_record(acked)), seen(60, positions=[position(100)], trades=()))
    assert state.record.orders[0].state is OrderState.ACKED
    assert "does not show it" in state.record.concern
    record = exit_record(acked, resumed_at=NOW + 70)
    state, _ = step(State(record), seen(80, positions=[position(100)], trades=()))
    assert state.record.orders[0].state is OrderState.LOST


def test_attempts_start_anew():
    tries = [order(OrderState.CANCELLED, tag=f"TG{n}", try_no=n, cancels=1) for n in range(1, 6)]
    assert isinstance(next_try(exit_record(*tries), at(30)), Ask)
    assert next_try(exit_record(*tries, resumed_at=NOW + 25, resumed_after=5), at(30)) == Go(1, 6, 100)


# --- refusals -----------------------------------------------------------------------------


def test_a_late_reply_settles_what_was_unknown():
    reply = Written(at(1), TAG, WriteResult(Outcome.ACKED, "9"))
    state, _ = step(State(exit_record(order(OrderState.UNKNOWN))), reply)
    assert (state.record.orders[0].state, state.record.orders[0].broker_order_id) == (OrderState.ACKED, "9")
    assert state.record.concern == ""


@pytest.mark.parametrize("state", [OrderState.LIVE, OrderState.FILLED, OrderState.UNKNOWN])
@pytest.mark.parametrize("outcome", [Outcome.NOT_SENT, Outcome.REJECTED, Outcome.UNKNOWN])
def test_a_late_reply_takes_nothing_back(state, outcome):
    before = State(exit_record(order(state, broker_order_id="9" * (state is not OrderState.UNKNOWN))))
    result = WriteResult(outcome, message="too late", reject_reason=RejectReason.MARGIN)
    after, commands = step(before, Written(at(1), TAG, result))
    assert after.record.orders == before.record.orders
    assert commands == (Rest(0.0),)


def test_a_reply_to_an_order_nobody_knows_changes_nothing():
    before = State(exit_record())
    after, commands = step(before, Written(at(1), "TGX", WriteResult(Outcome.ACKED, "9")))
    assert (after.record.orders, commands) == ((), (Rest(0.0),))
