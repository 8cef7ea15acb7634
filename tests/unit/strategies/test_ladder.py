"""An order that rests unfilled: how long it may, what is tried after it, and when a person decides."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketdata.domain.orders import OrderStatus, Quote, RejectClass, RejectReason
from marketdata.domain.prices import to_units
from strategies.domain.events import CancelOrder, OpenWire, ReadAccount, Rest, TakeTurn, TurnGiven, Woken
from strategies.domain.exits import OrderState
from strategies.domain.record import OrderRecord, State
from strategies.domain.steps import step
from strategies.domain.trying import MAX_ATTEMPTS, Ask, Go, Later, due_for_reprice, next_try
from tests.support.steps import NOW, SYMBOL, TAG, at, booked, exit_record, order, position, seen

QUOTE = Quote(SYMBOL, to_units(Decimal(1500)), bid=to_units(Decimal(1490)), ask=to_units(Decimal(1510)))


def rested(number: int, **fields: object) -> OrderRecord:
    """An attempt that we cancelled because it did not fill."""
    return order(OrderState.CANCELLED, **{"tag": f"TG{number}", "try_no": number, "cancels": 1, **fields})


def refused(number: int, reason: RejectReason, **fields: object) -> OrderRecord:
    return order(
        OrderState.REJECTED,
        **{
            "tag": f"TG{number}", "try_no": number, "reject_reason": reason,
            "reject_class": reason.reject_class, **fields,
        },
    )  # fmt: skip


@pytest.mark.parametrize(("before", "patience"), [(0, 3), (1, 3), (2, 5), (3, 10)])
def test_every_try_may_rest_a_little_longer(before, patience):
    tries = [rested(n) for n in range(1, before + 1)]
    live = order(OrderState.LIVE, try_no=before + 1, broker_order_id="9")
    record = exit_record(*tries, live)
    assert due_for_reprice(record, at(patience - 0.1)) is None
    assert due_for_reprice(record, at(patience)) == live


def test_the_last_try_rests_as_long_as_it_takes():
    tries = [rested(n) for n in range(1, MAX_ATTEMPTS)]
    live = order(OrderState.LIVE, try_no=MAX_ATTEMPTS, broker_order_id="9")
    state = State(exit_record(*tries, live))
    after, commands = step(state, seen(3600, book=[booked("9")]))
    assert commands == (Rest(1.0),)
    assert "at the exchange, not filled yet" in after.record.concern


@pytest.mark.parametrize(
    "fields", [{"is_trading": False}, {"spare_orders": 0}], ids=["closed market", "day's orders used up"]
)
def test_nothing_is_priced_anew_for_nothing(fields):
    live = State(exit_record(order(OrderState.LIVE, broker_order_id="9")))
    assert step(live, seen(60, book=[booked("9")], **fields))[1] == (Rest(1.0),)


@pytest.mark.parametrize("state", [OrderState.ACKED, OrderState.UNKNOWN, OrderState.CANCELLING])
def test_only_what_the_book_shows_alive_is_priced_anew(state):
    record = exit_record(order(state, broker_order_id="9", cancel_asked_at=NOW))
    assert due_for_reprice(record, at(60)) is None
    assert due_for_reprice(exit_record(order(OrderState.LIVE, sent_at=None)), at(60)) is None


@pytest.mark.parametrize(("cancels", "pause"), [(1, 3), (2, 6), (3, 12), (4, 24), (5, 30), (90, 30)])
def test_a_cancel_is_asked_for_again_ever_more_patiently(cancels, pause):
    going = order(
        OrderState.CANCELLING, broker_order_id="9", cancels=cancels, cancel_asked_at=NOW, sent_at=NOW - 900
    )
    state = State(exit_record(going))
    assert step(state, seen(pause - 0.1, book=[booked("9")]))[1] == (Rest(1.0),)
    after, commands = step(state, seen(pause, book=[booked("9")]))
    assert commands == (CancelOrder(TAG, "9"),)
    assert after.record.orders[0].cancels == cancels + 1
    # Set back, a clock does not say when it was asked for.
    assert step(state, seen(-1, book=[booked("9")]))[1] == (CancelOrder(TAG, "9"),)


def test_an_answer_to_a_cancel_proves_nothing_but_makes_one_look():
    from strategies.domain.events import CancelAnswered

    going = State(exit_record(order(OrderState.CANCELLING, broker_order_id="9", cancel_asked_at=NOW)))
    after, commands = step(going, CancelAnswered(at(), TAG))
    assert (after.record.orders, commands) == (going.record.orders, (ReadAccount(),))


def test_a_fill_that_crossed_the_cancel_is_not_sent_again():
    going = State(exit_record(order(OrderState.CANCELLING, broker_order_id="9", cancel_asked_at=NOW)))
    after, _ = step(going, seen(1, book=[booked("9", OrderStatus.FILLED, filled=100)]))
    assert after.record.state.value == "done"


@pytest.mark.parametrize("filled", [0, 1, 40, 99])
def test_what_was_filled_meanwhile_is_not_tried_again(filled):
    going = order(OrderState.CANCELLING, broker_order_id="9", cancels=1, cancel_asked_at=NOW)
    row = booked("9", OrderStatus.CANCELLED, filled=filled)
    state, commands = step(State(exit_record(going)), seen(1, book=[row]))
    assert isinstance(commands[0], TakeTurn)
    assert next_try(state.record, at(1)) == Go(1, 2, 100 - filled, rested=1)


def test_a_later_try_has_a_limit_made_of_a_quote():
    state = State(exit_record(rested(1)))
    _, commands = step(state, TurnGiven(at(1)))
    assert commands == (ReadAccount(anew=False, for_plan=True, quote=True),)
    after, commands = step(state, seen(1, positions=[position(100)], plan=True, quote=QUOTE))
    assert commands == (OpenWire(TAG),)
    assert after.record.orders[-1].price == Decimal("1475.10")  # 1 % below the best bid


@pytest.mark.parametrize("quote", [None, Quote(SYMBOL, 0)])
def test_without_a_price_to_be_had_it_is_the_market(quote):
    state = State(exit_record(rested(1)))
    after, _ = step(state, seen(1, positions=[position(100)], plan=True, quote=quote))
    assert after.record.orders[-1].price is None


def test_a_turn_that_is_no_longer_needed_only_makes_one_look():
    filled = State(exit_record(order(OrderState.FILLED, filled=100)))
    assert step(filled, TurnGiven(at()))[1] == (ReadAccount(),)


# --- what counts as an attempt ------------------------------------------------------------


def test_attempts_are_counted_for_each_part_of_its_own():
    first = [order(OrderState.FILLED, tag="TGA", quantity=50, filled=50)]
    tries = [rested(n, slice_no=2, quantity=50) for n in range(1, MAX_ATTEMPTS)]
    record = exit_record(*first, *tries)
    assert next_try(record, at()) == Go(2, MAX_ATTEMPTS, 50, rested=MAX_ATTEMPTS - 1)
    last = rested(MAX_ATTEMPTS, slice_no=2, quantity=50, message="nobody there")
    verdict = next_try(exit_record(*first, *tries, last), at())
    assert verdict == Ask("5 orders did not finish the exit. Last: nobody there")


def test_without_words_of_the_broker_the_state_has_to_do():
    tries = [rested(n) for n in range(1, MAX_ATTEMPTS + 1)]
    assert next_try(exit_record(*tries), at()) == Ask("5 orders did not finish the exit. Last: cancelled")


def test_what_never_left_is_no_attempt():
    void = [order(OrderState.VOID, tag=f"TG{n}", try_no=n) for n in range(1, 30)]
    assert next_try(exit_record(*void), at()) == Go(1, 30, 100)


def test_what_was_refused_at_the_door_is_no_attempt_but_is_waited_for():
    throttled = [refused(n, RejectReason.RATE) for n in range(1, 30)]
    assert next_try(exit_record(*throttled), at(1)) == Later(4.0)
    assert next_try(exit_record(*throttled), at(5)) == Go(1, 30, 100)


def test_a_turn_that_comes_too_early_is_let_go():
    state = State(exit_record(refused(1, RejectReason.RATE)))
    _, commands = step(state, seen(0.5, positions=[position(100)], plan=True))
    assert commands == (Rest(0.5),)


@pytest.mark.parametrize("reason", [r for r in RejectReason if r.reject_class is RejectClass.HUMAN])
def test_what_no_machine_can_mend_is_for_a_person_at_once(reason):
    verdict = next_try(exit_record(refused(1, reason, message="as the broker put it")), at(60))
    assert isinstance(verdict, Ask)
    assert "as the broker put it" in verdict.reason


def test_a_cancel_by_somebody_else_is_a_word_against_the_exit():
    verdict = next_try(exit_record(rested(1, cancels=0, filled=20)), at())
    assert isinstance(verdict, Ask)
    assert "20 of 100 filled" in verdict.reason


def test_taken_out_by_the_exchange_for_its_price_it_is_tried_nearer_to_the_market():
    out = rested(1, cancels=0, reject_reason=RejectReason.BAND)
    assert next_try(exit_record(out), at()) == Go(1, 2, 100, refused=1)
    again = refused(2, RejectReason.BAND)
    assert next_try(exit_record(out, again), at(1)) == Go(1, 3, 100, refused=2)


def test_where_no_market_orders_are_taken_it_is_a_limit():
    assert next_try(exit_record(refused(1, RejectReason.NO_MARKET)), at(1)) == Go(1, 2, 100, rested=1)


def test_nothing_is_tried_while_a_person_is_asked_but_a_closed_position_is_noticed():
    state = State(exit_record(refused(1, RejectReason.MARGIN)))
    _, commands = step(state, Woken(at(1)))
    assert commands == (ReadAccount(for_plan=True),)
    state, commands = step(state, seen(1, positions=[position(100)], plan=True))
    assert commands == (Rest(30.0),)
    state, commands = step(state, seen(31, plan=True))
    assert commands == (Rest(2.0),)
    state, _ = step(state, seen(33, plan=True))
    assert state.record.state.value == "aborted"
    assert "none of its exit's orders was filled" in state.record.concern


def test_a_part_that_needs_a_person_does_not_stop_looking_at_the_others():
    stuck = refused(1, RejectReason.MARGIN, quantity=50)
    live = order(OrderState.LIVE, tag="TGB", slice_no=2, quantity=50, broker_order_id="9")
    after, commands = step(State(exit_record(stuck, live)), seen(1, book=[booked("9", quantity=50)]))
    assert commands == (Rest(1.0),)
    assert "not enough margin" in after.record.concern
