"""More than the exchange takes in one order: whole lots, one order each, and the sum is the exit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.orders import (
    OrderSnapshot,
    OrderStatus,
    Outcome,
    RejectClass,
    RejectReason,
    WriteResult,
)
from strategies.domain.events import (
    Circumstances,
    Command,
    Event,
    Opened,
    OpenWire,
    SendOrder,
    TakeTurn,
    TurnGiven,
    Woken,
    Written,
)
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.record import Memory, OrderRecord, State, Terms
from strategies.domain.steps import step
from strategies.domain.trying import Go, next_try
from tests.support.steps import at, booked, exit_record, order, position, seen

LOTS = Terms(lot_size=75, freeze_quantity=1800)


@pytest.mark.parametrize(
    ("freeze", "lot", "largest"),
    [(None, 75, None), (0, 75, None), (1800, 75, 1800), (1799, 75, 1725), (50, 75, 75), (100, 1, 100)],
)
def test_the_largest_order_is_whole_lots(freeze, lot, largest):
    assert Terms(freeze_quantity=freeze, lot_size=lot).largest_order == largest


def test_the_first_part_is_as_large_as_may_be_and_the_last_is_the_rest():
    record = exit_record(quantity=28 * 75, terms=Terms(lot_size=75, freeze_quantity=27 * 75))
    assert next_try(record, at()) == Go(1, 1, 27 * 75)
    filled = order(OrderState.LIVE, quantity=27 * 75)
    assert next_try(exit_record(filled, quantity=28 * 75, terms=record.terms), at()) == Go(2, 1, 75)


@pytest.mark.parametrize("state", [OrderState.UNKNOWN, OrderState.ACKED, OrderState.LIVE])
def test_a_part_in_the_air_counts_in_full_and_holds_up_no_other(state):
    one = order(state, quantity=1800, filled=75)
    record = exit_record(one, quantity=2000, terms=LOTS)
    assert record.missing == 200
    assert next_try(record, at()) == Go(2, 1, 200)


def test_a_part_that_did_not_fill_comes_before_a_new_one():
    one = order(OrderState.CANCELLED, quantity=1800, filled=600, cancels=1)
    assert next_try(exit_record(one, quantity=4000, terms=LOTS), at()) == Go(1, 2, 1200, rested=1)


def frozen(number: int, quantity: int) -> OrderRecord:
    return order(
        OrderState.REJECTED, tag=f"TG{number}", try_no=number, quantity=quantity,
        reject_class=RejectClass.FIX, reject_reason=RejectReason.FREEZE,
    )  # fmt: skip


def test_refused_for_its_size_it_is_halved_in_whole_lots():
    terms = Terms(lot_size=75)
    record = exit_record(frozen(1, 2100), quantity=2100, terms=terms)
    assert next_try(record, at(1)) == Go(1, 2, 1050)
    record = exit_record(frozen(1, 2100), frozen(2, 1050), quantity=2100, terms=terms)
    assert next_try(record, at(1)) == Go(1, 3, 525)
    record = exit_record(
        *(frozen(n, q) for n, q in enumerate((2100, 1050, 525), 1)), quantity=2100, terms=terms
    )
    assert next_try(record, at(1)) == Go(1, 4, 225)


def test_never_to_less_than_a_lot():
    record = exit_record(frozen(1, 75), quantity=75, terms=Terms(lot_size=75))
    assert next_try(record, at(1)) == Go(1, 2, 75)


def test_what_was_halved_goes_on_in_that_size():
    half = order(OrderState.FILLED, tag="TG2", try_no=2, quantity=1050, filled=1050)
    record = exit_record(frozen(1, 2100), half, quantity=2100, terms=Terms(lot_size=75))
    assert next_try(record, at(1)) == Go(1, 3, 1050)


@given(
    st.integers(1, 40), st.integers(1, 12), st.sampled_from([1, 25, 75]), st.lists(st.booleans(), max_size=60)
)
def test_the_parts_add_up_to_the_exit_even_when_killed_between_any_two(lots, most, lot, kills):
    """The broker fills everything; after each step the process may die and only the record stays."""
    quantity, terms = lots * lot, Terms(lot_size=lot, freeze_quantity=most * lot)
    state = State(exit_record(quantity=quantity, terms=terms))
    event: Event = Woken(at())
    killing = iter(kills)
    book: list[OrderSnapshot] = []
    for number in range(900):
        state, commands = step(state, event)
        book += [as_filled(sent) for sent in state.record.orders if is_news(sent, book)]
        held = quantity - sum(row.quantity for row in book)
        if next(killing, False):
            state, event = State(state.record, Memory()), Woken(at())
        elif state.record.state is ExitState.DONE:
            break
        else:
            event = outcome(commands[-1], book, held, number)
    assert state.record.state is ExitState.DONE
    assert sum(row.quantity for row in book) == quantity
    assert all(row.quantity % lot == 0 and row.quantity <= most * lot for row in book)


def is_news(sent: OrderRecord, book: list[OrderSnapshot]) -> bool:
    return sent.state is OrderState.SENDING and all(row.tag != sent.tag for row in book)


def as_filled(sent: OrderRecord) -> OrderSnapshot:
    amount = sent.quantity
    return booked(sent.tag, OrderStatus.FILLED, filled=amount, quantity=amount, tag=sent.tag)


def outcome(command: Command, book: list[OrderSnapshot], held: int, number: int) -> Event:
    match command:
        case TakeTurn():
            return TurnGiven(at())
        case OpenWire(tag):
            return Opened(at(), tag)
        case SendOrder(tag):
            return Written(at(), tag, WriteResult(Outcome.UNKNOWN))
        case _:
            pass
    around = Circumstances(new_tag=f"N{number}", tags=[row.tag for row in book])
    return seen(book=book, positions=[position(held)] if held else [], around=around, trades=())
