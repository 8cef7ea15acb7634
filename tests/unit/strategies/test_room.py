"""What is planned from what the account shows: never more than is held, less all that may still fill."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from marketdata.domain.orders import OrderStatus, PositionSnapshot, Side
from strategies.domain.events import Circumstances, Command, End, OpenWire, Rest, Seen, Tell
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.ordering import has_room
from strategies.domain.planning import OwnOrder
from strategies.domain.record import OrderRecord, State, Terms
from strategies.domain.steps import step
from tests.support.steps import SYMBOL, TODAY, booked, exit_record, order, position, seen

NEW = "TGNEW"
FRESH = State(exit_record())


def planning(after_s: float = 0.0, held: int = 100, **fields: Any) -> Seen:
    around = {
        key: fields.pop(key)
        for key in ("own", "tags", "order_ids", "refusal", "is_refusal_final")
        if key in fields
    }
    fields = {"positions": [position(held)], **fields}
    return seen(after_s, around=Circumstances(new_tag=NEW, **around), **fields)


def planned(event: Seen, state: State = FRESH) -> OrderRecord | None:
    return step(state, event)[0].record.order(NEW)


def own(unfilled: int, **fields: Any) -> OwnOrder:
    return replace(OwnOrder("TGX", SYMBOL, "MIS", Side.SELL, unfilled), **fields)


# --- the trader's own pending exits -------------------------------------------------------


@pytest.mark.parametrize(("theirs", "left"), [(0, 100), (30, 70), (99, 1)])
def test_a_traders_own_order_leaves_what_it_does_not_cover(theirs, left):
    book = [booked("7", quantity=theirs)] if theirs else []
    found = planned(planning(book=book))
    assert found is not None
    assert found.quantity == left


def test_of_one_that_is_partly_filled_only_the_rest_counts():
    found = planned(planning(held=70, book=[booked("7", filled=30)]))
    assert found is None
    found = planned(planning(held=80, book=[booked("7", filled=30)]))
    assert found is not None
    assert found.quantity == 10


def test_one_that_covers_all_is_waited_for_and_told_of_after_two_seconds():
    after, commands = step(FRESH, planning(book=[booked("7")]))
    assert commands == (Rest(1.0),)
    assert after.record.orders == ()
    after, _ = step(after, planning(2, book=[booked("7")]))
    assert "Your own open order 7 covers the position" in after.record.concern
    after, commands = step(after, planning(3))
    assert commands == (OpenWire(NEW),)
    assert after.record.concern == ""


@pytest.mark.parametrize(
    "row",
    [
        booked("7", OrderStatus.CANCELLED),
        booked("7", OrderStatus.REJECTED),
        booked("7", side=Side.BUY),
        booked("7", product="NRML"),
        booked("7", symbol="NSE:SBIN"),
    ],
    ids=["cancelled", "refused", "other side", "other product", "other share"],
)
def test_orders_that_cannot_take_the_position_do_not_count(row):
    found = planned(planning(book=[row]))
    assert found is not None
    assert found.quantity == 100


def test_orders_of_ours_are_not_the_traders():
    rows = [booked("7", tag="TGX"), booked("8", tag="stripped")]
    ours = [replace(own(0), tag="TGX"), replace(own(0), order_id="8")]
    found = planned(planning(book=rows, tags=["TGX"], order_ids=["8"], own=ours))
    assert found is not None
    assert found.quantity == 100


def test_one_of_ours_that_had_ended_and_is_shown_open_keeps_the_next_from_leaving():
    state = planning(book=[booked("7", tag="TGX")], tags=["TGX"])
    after, commands = step(FRESH, state)
    assert (commands, after.record.orders) == ((Rest(1.0),), ())
    after, _ = step(after, planning(2, book=[booked("7", tag="TGX")], tags=["TGX"]))
    assert "shows order 7 of ours as open, which has ended" in after.record.concern


def test_other_exits_on_their_way_are_waited_for_and_told_of_after_two_seconds():
    after, commands = step(FRESH, planning(own=[own(100)]))
    assert (commands, after.record.concern) == ((Rest(1.0),), "")
    after, _ = step(after, planning(2, own=[own(100)]))
    assert (
        after.record.concern == "Other exit orders on their way cover the whole position: waiting for them."
    )


# --- the exposure rule --------------------------------------------------------------------

PLANNED = order(OrderState.PLANNED, tag=NEW)


def test_an_order_fits_what_is_held_and_wanted():
    assert has_room(PLANNED, exit_record(), planning(), ())
    assert has_room(replace(PLANNED, quantity=1), exit_record(), planning(held=1), ())


@pytest.mark.parametrize("state", [s for s in OrderState if not s.is_final and s is not OrderState.PLANNED])
def test_while_anything_may_fill_there_is_room_for_the_rest_only(state):
    record = exit_record(order(state, tag="TG1", quantity=60))
    assert not has_room(replace(PLANNED, quantity=41), record, planning(), ())
    assert has_room(replace(PLANNED, quantity=40), record, planning(), ())


@pytest.mark.parametrize(
    "event",
    [
        planning(held=99),
        planning(held=0),
        planning(positions=[]),
        planning(book=[booked("7", quantity=1)]),
        replace(planning(), around=None),
        planning(positions=[position(100, "NRML")]),
    ],
    ids=["less held", "none held", "not held", "the trader's order", "not read for it", "other product"],
)
def test_an_order_that_does_not_fit_is_refused(event):
    assert not has_room(PLANNED, exit_record(), event, ())


def test_what_others_have_planned_meanwhile_counts():
    assert not has_room(PLANNED, exit_record(), planning(), [own(1)])
    assert has_room(PLANNED, exit_record(), planning(), [own(100, product="NRML")])


# --- nothing to exit ----------------------------------------------------------------------


def flat(state: State = FRESH, **fields: Any) -> tuple[State, tuple[Command, ...]]:
    """See twice that nothing is held."""
    state, commands = step(state, planning(0, 0, **fields))
    assert commands == (Rest(2.0),), "one look is not believed"
    assert not state.record.state.is_final
    return step(state, planning(2, 0, **fields))


def test_closed_by_hand_it_is_over_without_an_order():
    state, commands = flat()
    assert state.record.state is ExitState.ABORTED
    note = "The position was already closed at the broker: no order was sent."
    assert commands == (Tell("aborted", note), End(is_flat=True, note=note))


def test_the_same_look_twice_is_one_look():
    state, _ = step(FRESH, planning(0, 0))
    state, commands = step(state, planning(0.5, 0))
    assert (commands, state.record.state) == ((Rest(1.5),), ExitState.WORKING)


def test_a_position_that_is_back_is_exited():
    state, _ = step(FRESH, planning(0, 0))
    state, commands = step(state, planning(1))
    assert commands == (OpenWire(NEW),)
    assert state.memory.flat_since is None


def test_a_position_on_the_other_side_is_none_of_ours():
    state, _ = step(FRESH, planning(0, -100))
    assert step(state, planning(2, -100))[0].record.state is ExitState.ABORTED


def test_closed_by_hand_after_a_part_was_filled_it_is_done():
    part = order(OrderState.CANCELLED, filled=40, cancels=1, broker_order_id="9")
    state, commands = flat(State(exit_record(part)))
    assert state.record.state is ExitState.DONE
    assert commands == (End(is_flat=True, note="40 exited; the rest of the position was already closed."),)


def test_what_is_open_decides_whether_it_is_over():
    parts = [
        order(OrderState.REJECTED, quantity=60),
        order(OrderState.LIVE, tag="TG2", quantity=40, slice_no=2),
    ]
    state = State(exit_record(*parts, terms=Terms(freeze_quantity=60)))
    for moment in range(5):
        state, commands = step(state, planning(moment, 0))
        assert commands == (Rest(1.0),)
        assert not state.record.state.is_final


# --- not now, or never --------------------------------------------------------------------


def test_a_closed_market_is_waited_for():
    after, commands = step(FRESH, planning(is_trading=False))
    assert (commands, after.record.orders) == ((Rest(5.0),), ())
    assert after.record.concern == "The market is closed: the exit is sent when it opens."
    assert step(after, planning(5))[0].record.concern == ""


def test_a_switch_that_is_off_is_waited_for_on_the_same_day():
    after, commands = step(FRESH, planning(refusal="Trading is off."))
    assert (commands, after.record.concern) == ((Rest(5.0),), "Trading is off.")


def test_on_another_day_it_does_not_sell_when_the_switch_is_turned():
    old = State(exit_record(day=TODAY - timedelta(days=1)))
    after, commands = step(old, planning(refusal="Trading is off."))
    assert after.record.state is ExitState.ABORTED
    assert commands == (Tell("aborted", "Trading is off."), End(note="Trading is off."))


def test_where_no_order_may_ever_be_sent_it_ends():
    after, _ = step(FRESH, planning(refusal="A paper account.", is_refusal_final=True))
    assert (after.record.state, after.record.concern) == (ExitState.ABORTED, "A paper account.")


@pytest.mark.parametrize("state", [OrderState.UNKNOWN, OrderState.ACKED, OrderState.LIVE])
def test_but_not_while_an_order_of_it_may_still_fill(state):
    part = order(state, tag="TG1", quantity=60, broker_order_id="9")
    after, commands = step(
        State(exit_record(part)), planning(refusal="A paper account.", is_refusal_final=True)
    )
    assert (after.record.state, commands[-1]) == (ExitState.NEEDS_HUMAN, Rest(5.0))


def test_what_is_not_clear_is_for_a_person():
    rows = [position(100), PositionSnapshot(SYMBOL, "MIS", 50)]
    after, commands = step(FRESH, planning(positions=rows))
    assert commands == (Rest(30.0),)
    assert (
        after.record.concern == "It is not clear which position to close: two position rows of one product."
    )


def test_an_order_carries_what_the_position_was_without_todays_fills():
    fills = [
        booked("7", OrderStatus.FILLED, filled=30, quantity=30),
        booked("8", OrderStatus.FILLED, filled=10, quantity=10, side=Side.BUY),
        booked("6", OrderStatus.FILLED, filled=99, quantity=99, product="NRML"),
    ]
    found = planned(planning(held=80, book=fills))
    assert found is not None
    assert found.opening == 100


def test_an_order_has_the_product_of_the_position_it_closes():
    found = planned(planning(positions=[position(100, "NRML")]))
    assert found is not None
    assert found.product == "NRML"
