"""More than was wanted: seen at once, told once, what is alive cancelled, nothing bought back."""

from __future__ import annotations

import pytest

from marketdata.domain.orders import OrderStatus
from strategies.domain.events import CancelOrder, Command, End, Rest, Tell, Woken
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.record import OrderRecord, State
from strategies.domain.steps import TURNED_S, step
from tests.support.steps import NOW, at, booked, exit_record, order, position, seen

LOST = order(OrderState.LOST, tag="TG1", planned_at=NOW - 30)
FIRST_LIVE = booked("1", tag="TG1")
FIRST_FILLED = booked("1", OrderStatus.FILLED, filled=100, tag="TG1")


def second(state: OrderState, **fields: object) -> OrderRecord:
    return order(state, **{"tag": "TG2", "try_no": 2, "broker_order_id": "2", **fields})


def tells(commands: tuple[Command, ...]) -> list[str]:
    return [command.text for command in commands if isinstance(command, Tell)]


def test_a_lost_order_that_turns_up_has_the_newer_one_cancelled():
    state = State(exit_record(LOST, second(OrderState.LIVE)))
    after, commands = step(state, seen(1, book=[FIRST_LIVE, booked("2", tag="TG2")]))
    assert commands == (CancelOrder("TG2", "2"),)
    assert after.record.orders[0].state is OrderState.LIVE
    assert "OVERFILL" in after.record.concern
    _, commands = step(after, seen(2, book=[FIRST_LIVE, booked("2", tag="TG2")]))
    assert commands == (Rest(1.0),), "one cancel settles it"


def test_turned_up_filled_the_newer_one_is_cancelled_too():
    state = State(exit_record(LOST, second(OrderState.LIVE)))
    after, commands = step(state, seen(1, book=[FIRST_FILLED, booked("2", tag="TG2")]))
    assert commands == (CancelOrder("TG2", "2"),)
    book = [FIRST_FILLED, booked("2", OrderStatus.CANCELLED, tag="TG2")]
    after, commands = step(after, seen(2, book=book))
    assert (after.record.state, commands) == (ExitState.DONE, (End(is_flat=True),))


def test_what_is_not_in_the_book_yet_cannot_be_cancelled_yet():
    state = State(exit_record(LOST, second(OrderState.UNKNOWN, broker_order_id="", planned_at=NOW)))
    after, commands = step(state, seen(1, book=[FIRST_FILLED], trades=()))
    assert commands[-1] == Rest(1.0)
    assert "OVERFILL" in after.record.concern


def test_when_both_are_filled_a_person_is_told_once_and_nothing_is_bought_back():
    state = State(exit_record(LOST, second(OrderState.LIVE)))
    book = [FIRST_FILLED, booked("2", OrderStatus.FILLED, filled=100, tag="TG2")]
    after, commands = step(state, seen(1, book=book))
    assert after.record.state is ExitState.DONE
    [text] = tells(commands)
    assert text.startswith("OVERFILL: 200 filled, 100 were to be exited.")
    assert text.endswith("nothing is bought or sold back for you.")
    assert commands[-1] == End(is_flat=True)
    _, commands = step(after, seen(2, book=book))
    assert commands == (End(),)


def test_a_cancelled_order_that_fills_late_counts_and_the_newer_one_goes():
    gone = order(OrderState.CANCELLED, tag="TG1", broker_order_id="1", cancels=1, planned_at=NOW - 30)
    state = State(exit_record(gone, second(OrderState.LIVE)))
    after, commands = step(state, seen(1, book=[FIRST_FILLED, booked("2", tag="TG2")]))
    assert after.record.orders[0].state is OrderState.FILLED
    assert commands == (CancelOrder("TG2", "2"),)


def test_a_late_fill_after_the_end_is_told():
    gone = order(OrderState.CANCELLED, tag="TG1", broker_order_id="1", cancels=1)
    done = State(exit_record(gone, second(OrderState.FILLED, filled=100), state=ExitState.DONE))
    book = [FIRST_FILLED, booked("2", OrderStatus.FILLED, filled=100, tag="TG2")]
    after, commands = step(done, seen(600, book=book))
    assert (after.record.state, after.record.filled) == (ExitState.DONE, 200)
    assert len(tells(commands)) == 1


def test_what_turns_up_alive_after_the_end_is_cancelled_until_it_has_ended():
    done = State(exit_record(LOST, second(OrderState.FILLED, filled=100), state=ExitState.DONE))
    book = [FIRST_LIVE, booked("2", OrderStatus.FILLED, filled=100, tag="TG2")]
    state, commands = step(done, seen(60, book=book))
    assert tells(commands) == ["OVERFILL: order 1 turned up after its exit had ended: cancelling it."]
    assert commands[-1] == CancelOrder("TG1", "1")
    assert step(state, seen(61, book=book))[1] == (End(),)
    state, commands = step(state, seen(63, book=book))
    assert commands == (CancelOrder("TG1", "1"),)
    _, commands = step(state, seen(64, book=[booked("1", OrderStatus.CANCELLED, tag="TG1"), book[1]]))
    assert commands == (End(),)


def test_an_exit_that_has_ended_does_nothing_by_itself():
    done = State(exit_record(second(OrderState.FILLED, filled=100), state=ExitState.DONE))
    assert step(done, Woken(at())) == (done, (End(),))


# --- the position turned ------------------------------------------------------------------


@pytest.mark.parametrize(("is_long", "held"), [(True, -100), (False, 100)])
def test_a_position_that_turns_with_the_exit_is_told(is_long, held):
    filled = booked("2", OrderStatus.FILLED, filled=100, tag="TG2")
    state = State(exit_record(second(OrderState.LIVE), is_long=is_long))
    after, commands = step(state, seen(1, book=[filled], positions=[position(held)]))
    assert after.record.state is ExitState.DONE
    [text] = tells(commands)
    assert f"stands at {held}" in text


ENDED = State(exit_record(second(OrderState.FILLED, filled=100), state=ExitState.DONE))


def test_just_after_the_end_as_well_but_not_for_long():
    assert tells(step(ENDED, seen(TURNED_S, positions=[position(-1)]))[1])
    assert not tells(step(ENDED, seen(TURNED_S + 1, positions=[position(-1)]))[1])
    assert not tells(step(ENDED, seen(-1, positions=[position(-1)]))[1]), "the clock was set back"


@pytest.mark.parametrize(
    "held", [position(0), position(50), position(-100, "NRML"), position(-100, symbol="NSE:SBIN")]
)
def test_a_position_that_did_not_turn_is_not(held):
    assert not tells(step(ENDED, seen(1, positions=[held]))[1])


def test_without_a_fill_of_ours_it_is_somebody_elses_doing():
    aborted = State(exit_record(second(OrderState.REJECTED), state=ExitState.ABORTED))
    assert not tells(step(aborted, seen(1, positions=[position(-100)]))[1])
