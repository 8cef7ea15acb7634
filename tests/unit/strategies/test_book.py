"""What the broker's book proves of our orders, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from marketdata.domain.orders import OrderSnapshot, OrderStatus, Outcome, RejectReason, Side, WriteResult
from strategies.domain.events import CancelOrder, Circumstances, Command, End, Unread, Written
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.folding import REFUSED_LOOK_UP_S, row_of
from strategies.domain.record import ExitRecord, State
from strategies.domain.steps import step
from tests.support.steps import TAG, TODAY, at, booked, exit_record, order, position, seen

OURS = "TG0ABCDEFGHIJKLMNO"  # a tag of our shape that is in no record
SENT = State(exit_record(order(OrderState.SENDING)))
PLANNING = Circumstances(new_tag="TGNEW", tags=[TAG])


def test_what_a_book_shows_is_taken_over():
    row = booked("9", filled=40, tag=TAG, average_price=Decimal("1499.95"), message="as it says")
    state, _ = step(State(exit_record(order(OrderState.UNKNOWN))), seen(1, book=[row]))
    [known] = state.record.orders
    assert (known.state, known.filled, known.average_price) == (OrderState.LIVE, 40, Decimal("1499.95"))
    assert (known.broker_order_id, known.message, known.changed_at) == ("9", "as it says", at(1).time)


def test_a_book_that_is_behind_undoes_nothing():
    ahead = order(OrderState.LIVE, broker_order_id="9", filled=40)
    state, _ = step(State(exit_record(ahead)), seen(1, book=[booked("9", filled=10)]))
    assert state.record.orders == (ahead,)
    ended = order(OrderState.FILLED, broker_order_id="9", filled=100)
    state, _ = step(State(exit_record(ended, state=ExitState.DONE)), seen(1, book=[booked("9", filled=100)]))
    assert state.record.orders == (ended,)


def test_an_order_we_know_of_is_not_gone_because_a_book_does_not_show_it():
    for known in (OrderState.ACKED, OrderState.LIVE, OrderState.REJECTED):
        before = order(known, broker_order_id="9")
        assert step(State(exit_record(before)), seen(1))[0].record.orders == (before,)


# --- refused ------------------------------------------------------------------------------


def refused(reason: RejectReason = RejectReason.MARGIN) -> State:
    result = WriteResult(Outcome.REJECTED, "", "their words", reason.reject_class, reason)
    return step(SENT, Written(at(), TAG, result))[0]


def test_a_refused_order_that_is_in_the_book_as_refused_keeps_the_reason_of_the_reply():
    row = booked("9", OrderStatus.REJECTED, tag=TAG)
    state, _ = step(refused(), seen(1, book=[row]))
    assert state.record.orders[0].reject_reason is RejectReason.MARGIN
    assert state.memory.refusals == {}


def test_refused_but_filled_is_filled():
    state, commands = step(refused(), seen(1, book=[booked("9", OrderStatus.FILLED, filled=100, tag=TAG)]))
    assert (state.record.state, commands) == (ExitState.DONE, (End(is_flat=True),))


def test_refused_and_nowhere_to_be_found_is_refused():
    state, _ = step(refused(), seen(1, positions=[position(100)], trades=()))
    [order_] = state.record.orders
    assert (order_.state, order_.message, order_.reject_reason) == (
        OrderState.REJECTED, "their words", RejectReason.MARGIN,
    )  # fmt: skip


def test_a_refused_order_that_turns_up_alive_is_alive():
    state, _ = step(step(refused(RejectReason.RATE), seen(1))[0], seen(2, book=[booked("9", tag=TAG)]))
    assert state.record.orders[0].state is OrderState.LIVE


def test_one_the_book_refuses_is_judged_by_the_books_words():
    known = order(OrderState.ACKED, broker_order_id="9")
    row = booked("9", OrderStatus.REJECTED, reject_reason=RejectReason.FREEZE)
    state, _ = step(State(exit_record(known)), seen(1, book=[row]))
    assert state.record.orders[0].reject_reason is RejectReason.FREEZE
    row = booked("9", OrderStatus.REJECTED, message="never heard of")
    state, _ = step(State(exit_record(known)), seen(1, book=[row]))
    assert "never heard of" in state.record.concern, "words nobody knows are for a person"


def test_a_refusal_nobody_could_look_up_in_time_is_not_believed():
    state, _ = step(refused(), Unread(at(REFUSED_LOOK_UP_S), "502"))
    assert (state.record.orders[0].state, state.memory.refusals) == (OrderState.UNKNOWN, {})


# --- orders with a tag of ours and without a record ---------------------------------------


def adopted(row_fields: dict[str, object], record: ExitRecord | None = None) -> State:
    row = booked("9", **{"tag": OURS, **row_fields})  # type: ignore[arg-type]
    return step(
        State(record or exit_record()), seen(1, book=[row], positions=[position(100)], around=PLANNING)
    )[0]


def test_it_is_taken_in_and_counts():
    state = adopted({"filled": 30})
    [order_] = state.record.orders
    assert (order_.tag, order_.state, order_.filled, order_.quantity) == (OURS, OrderState.LIVE, 30, 100)
    assert (order_.day, order_.slice_no, state.record.missing) == (TODAY, 1, 0)


def test_taken_in_beside_others_it_is_a_part_of_its_own_and_leaves_room_for_the_rest():
    state = adopted({"quantity": 40}, exit_record(order(OrderState.REJECTED, quantity=100, slice_no=3)))
    assert state.record.order(OURS) is not None
    assert [o.slice_no for o in state.record.orders[:2]] == [3, 4]
    assert state.record.exposure <= state.record.quantity


@pytest.mark.parametrize(
    "fields",
    [{"tag": "TGmine"}, {"tag": ""}, {"symbol": "NSE:SBIN"}, {"side": Side.BUY}, {"tag": TAG}],
    ids=str,
)
def test_others_are_not(fields):
    assert len(adopted(fields, exit_record(order(OrderState.REJECTED, tag="TGB"))).record.orders) <= 2
    assert adopted(fields).record.order(fields.get("tag", OURS)) is None


def test_an_exit_that_has_ended_takes_in_nothing():
    ended = exit_record(order(OrderState.FILLED, filled=100, broker_order_id="1"), state=ExitState.DONE)
    assert len(adopted({}, ended).record.orders) == 1


# --- one request, two orders --------------------------------------------------------------

PAIR = [booked("9", tag=TAG), booked("10", tag=TAG)]


def pair(state: OrderState, book: list[OrderSnapshot], **fields: object) -> tuple[State, tuple[Command, ...]]:
    record = exit_record(order(state, **{"broker_order_id": "9", **fields}))
    return step(State(record), seen(1, book=book))


@pytest.mark.parametrize("state", [OrderState.SENDING, OrderState.UNKNOWN, OrderState.ACKED, OrderState.LIVE])
def test_a_second_row_of_our_tag_is_an_order_of_its_own_and_cancelled(state):
    known = "" if state in (OrderState.SENDING, OrderState.UNKNOWN) else "9"
    after, commands = pair(state, PAIR, broker_order_id=known)
    first, second = after.record.orders
    assert (first.broker_order_id, first.state) == ("9", OrderState.LIVE)
    assert (second.broker_order_id, second.state) == ("10", OrderState.CANCELLING)
    assert commands == (CancelOrder(second.tag, "10"),)
    assert after.record.exposure == 200, "both may still fill"
    assert "OVERFILL" in after.record.concern
    assert len(second.tag) <= 18


def test_a_twin_is_taken_in_once():
    after, _ = pair(OrderState.LIVE, PAIR)
    again, _ = step(after, seen(2, book=PAIR))
    assert len(again.record.orders) == 2
    assert row_of(again.record.orders[0], PAIR) == PAIR[0]
    assert row_of(again.record.orders[1], PAIR) == PAIR[1]


def test_of_a_pair_the_one_that_is_not_filled_is_cancelled():
    filled = booked("10", OrderStatus.FILLED, filled=100, tag=TAG)
    after, commands = pair(OrderState.LIVE, [PAIR[0], filled])
    assert commands == (CancelOrder(TAG, "9"),)
    cancelled = [booked("9", OrderStatus.CANCELLED, tag=TAG), filled]
    done, commands = step(after, seen(2, book=cancelled))
    assert (done.record.state, done.record.filled, commands) == (ExitState.DONE, 100, (End(is_flat=True),))


def test_when_both_are_filled_a_person_is_told_once():
    filled = [replace(row, status=OrderStatus.FILLED, filled_quantity=100) for row in PAIR]
    after, commands = pair(OrderState.ACKED, filled)
    assert [c.kind for c in commands if hasattr(c, "kind")] == ["overfill"]
    again, commands = step(after, seen(2, book=filled))
    assert (again.record.filled, commands) == (200, (End(),))


def test_a_twin_that_appears_after_the_end_is_cancelled_and_told():
    ended = exit_record(order(OrderState.FILLED, filled=100, broker_order_id="9"), state=ExitState.DONE)
    book = [booked("9", OrderStatus.FILLED, filled=100, tag=TAG), PAIR[1]]
    after, commands = step(State(ended), seen(60, book=book))
    assert [type(c).__name__ for c in commands] == ["Tell", "CancelOrder"]
    assert after.record.orders[1].state is OrderState.CANCELLING


@pytest.mark.parametrize("state", [OrderState.PLANNED, OrderState.VOID])
def test_what_never_left_is_not_looked_for(state):
    before = order(state, sent_at=None)
    after, _ = step(State(exit_record(before)), seen(1, positions=[position(100)]))
    assert after.record.orders[0].state is state
