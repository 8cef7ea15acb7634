"""What an exit does next, from its record alone."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.orders import OrderSnapshot, OrderStatus, RejectClass, Side
from strategies.domain.budget import SlidingWindow
from strategies.domain.exits import EXIT_TRANSITIONS, ORDER_TRANSITIONS, ExitState, OrderState
from strategies.domain.steps import (
    MAX_ATTEMPTS,
    AskHuman,
    ExitRecord,
    Finish,
    OrderRecord,
    PlanOrder,
    SendOrder,
    VoidOrder,
    Wait,
    Watch,
    failures,
    find_in_book,
    hold_up,
    next_step,
    state_in_book,
    states_before,
)
from strategies.domain.tags import is_ours, new_tag

NOW = 1_000_000.0


def order(state: OrderState, *, filled: int = 0, quantity: int = 100, **fields) -> OrderRecord:
    return OrderRecord(
        1, "TG0", state, quantity, filled, planned_at=NOW, changed_at=NOW, sent_at=NOW, **fields
    )


def record(*orders: OrderRecord, quantity: int = 100) -> ExitRecord:
    return ExitRecord(1, ExitState.WORKING, quantity, orders)


def test_a_new_exit_is_planned():
    assert next_step(record(), NOW) == PlanOrder(100)


def test_a_fresh_plan_is_sent_and_an_old_one_is_voided():
    planned = order(OrderState.PLANNED)
    assert next_step(record(planned), NOW + 1) == SendOrder(planned)
    assert next_step(record(planned), NOW + 2.1) == VoidOrder(planned)
    assert next_step(record(planned), NOW - 1) == VoidOrder(planned), "the clock was set back"


@pytest.mark.parametrize("state", [OrderState.SENDING, OrderState.UNKNOWN])
@pytest.mark.parametrize("after_s", [0, 10, 3600, 86_400])
def test_an_unknown_order_is_watched_and_told_about_for_ever_never_sent_again(state, after_s):
    step = next_step(record(order(state)), NOW + after_s)
    assert isinstance(step, Watch)
    assert "TG0" in step.concern


def test_a_resting_order_becomes_a_concern():
    live = order(OrderState.LIVE, broker_order_id="42")
    assert next_step(record(live), NOW + 1) == Watch((live,), "")
    later = next_step(record(live), NOW + 11)
    assert isinstance(later, Watch)
    assert "42" in later.concern


def test_filled_is_finished():
    assert next_step(record(order(OrderState.FILLED, filled=100)), NOW) == Finish()


def test_a_shorter_fill_leaves_the_rest_to_be_planned():
    assert next_step(record(order(OrderState.FILLED, filled=60, quantity=60)), NOW) == PlanOrder(40)


def test_an_order_that_never_left_is_planned_again_without_being_counted():
    never = order(OrderState.VOID)
    assert next_step(record(*[never] * 20), NOW) == PlanOrder(100)


def test_a_cancelled_order_is_not_sent_again_without_a_person():
    step = next_step(record(order(OrderState.CANCELLED, filled=30)), NOW)
    assert isinstance(step, AskHuman)
    assert "30 of 100" in step.reason


def refused(reject_class: RejectClass | None) -> OrderRecord:
    return order(OrderState.REJECTED, reject_class=reject_class, message="Insufficient funds")


@pytest.mark.parametrize("reject_class", [RejectClass.HUMAN, None])
def test_a_refusal_for_a_person_is_not_tried_again(reject_class):
    step = next_step(record(refused(reject_class)), NOW + 100)
    assert isinstance(step, AskHuman)
    assert "Insufficient funds" in step.reason


def test_what_can_be_mended_is_tried_three_times_a_second_apart():
    for tries in (1, 2, 3):
        rejected = [refused(RejectClass.FIX)] * tries
        assert next_step(record(*rejected), NOW + 0.5) == Wait(0.5)
        assert next_step(record(*rejected), NOW + 1) == PlanOrder(100)
    assert isinstance(next_step(record(*[refused(RejectClass.FIX)] * 4), NOW + 1), AskHuman)


@pytest.mark.parametrize(("tries", "pause"), [(1, 1), (2, 2), (3, 5), (4, 5), (40, 5)])
def test_a_refusal_that_asks_for_patience_gets_it_and_is_never_the_end(tries, pause):
    rejected = record(*[refused(RejectClass.WAIT)] * tries)
    assert next_step(rejected, NOW) == Wait(pause)
    assert next_step(rejected, NOW + pause) == PlanOrder(100)
    assert next_step(rejected, NOW - 3600) == Wait(pause), "the clock was set back"


def test_an_order_that_does_not_leave_is_told_of_after_two_seconds():
    never = order(OrderState.VOID, message="connection refused")
    assert hold_up(record(never), NOW + 1) == ""
    assert "connection refused" in hold_up(record(never, order(OrderState.PLANNED)), NOW + 2)
    assert "Insufficient funds" in hold_up(record(refused(RejectClass.WAIT)), NOW + 2)
    assert hold_up(record(order(OrderState.PLANNED)), NOW + 60) == ""
    assert hold_up(record(never, order(OrderState.LIVE)), NOW + 60) == ""
    assert failures(record(order(OrderState.LIVE), never, never, order(OrderState.PLANNED))) == 2


def test_a_book_that_says_filled_without_the_quantity_has_not_caught_up():
    row = OrderSnapshot("9", "TG0", "NSE:INFY", Side.SELL, "MIS", 100, 60, OrderStatus.FILLED, "COMPLETE")
    assert state_in_book(row) is OrderState.LIVE
    assert state_in_book(replace(row, filled_quantity=100)) is OrderState.FILLED


def test_attempts_are_capped():
    short = order(OrderState.FILLED, filled=1, quantity=1)
    assert isinstance(next_step(record(*[short] * MAX_ATTEMPTS), NOW), AskHuman)


STATES = st.sampled_from(OrderState)


@given(st.lists(st.tuples(STATES, st.integers(0, 100)), max_size=6), st.floats(0, 1e6))
def test_nothing_new_while_anything_may_be_live(orders, after_s):
    rows = tuple(order(state, filled=filled) for state, filled in orders)
    step = next_step(record(*rows), NOW + after_s)
    may_be_live = [row for row in rows if not row.state.is_final and row.state is not OrderState.PLANNED]
    if may_be_live:
        assert not isinstance(step, PlanOrder | Finish)
    if isinstance(step, SendOrder):
        assert step.order.state is OrderState.PLANNED


def test_no_way_leads_back_to_planned_or_into_sending_but_from_planned():
    assert states_before(OrderState.PLANNED) == []
    assert states_before(OrderState.SENDING) == [OrderState.PLANNED]
    assert OrderState.VOID not in ORDER_TRANSITIONS[OrderState.UNKNOWN]


def test_ends_are_ends():
    assert all(not EXIT_TRANSITIONS[state] for state in ExitState if state.is_final)
    assert not ORDER_TRANSITIONS[OrderState.FILLED]


def test_an_order_is_found_by_id_or_by_tag_and_never_by_an_empty_one():
    row = OrderSnapshot("9", "TG0", "NSE:INFY", Side.SELL, "MIS", 1, 0, OrderStatus.LIVE, "OPEN")
    ours = order(OrderState.UNKNOWN)
    assert find_in_book(ours, [row]) is row
    assert find_in_book(replace(ours, tag="TG1", broker_order_id="9"), [row]) is row
    assert find_in_book(replace(ours, tag=""), [replace(row, order_id="", tag="")]) is None


def test_tags_are_short_plain_and_ours():
    tags = {new_tag(date(2026, 11, 23), random.Random(seed)) for seed in range(200)}
    assert len(tags) == 200
    assert all(is_ours(tag) and len(tag) == 18 and tag.isalnum() and tag == tag.upper() for tag in tags)
    assert not is_ours("TGmine")


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_no_window_ever_holds_more_than_its_limit(gaps):
    window, now, sent = SlidingWindow(10, 1.0), 0.0, []
    for gap in gaps:
        now += gap / 50
        now += window.wait_s(now)
        window.count(now)
        sent.append(now)
    assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in zip(sent, sent[10:], strict=False))
