"""When an order whose reply was lost counts as not there: three looks that nothing speaks against."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from marketdata.domain.orders import OrderStatus, Side, TradeSnapshot
from strategies.domain.absence import looked_for
from strategies.domain.events import Note, Rest, Seen, Woken
from strategies.domain.exits import OrderState
from strategies.domain.record import Absence, Memory, Moment, OrderRecord, State
from strategies.domain.steps import step
from tests.support.steps import NOW, SYMBOL, TAG, TODAY, at, booked, exit_record, order, position, seen

UNKNOWN = order(OrderState.UNKNOWN)
EARLIER = order(OrderState.FILLED, tag="TG8", broker_order_id="8", filled=40, quantity=40)
EARLIER_ROW = booked("8", OrderStatus.FILLED, filled=40, quantity=40, tag="TG8")


def look(after_s: float, **fields: Any) -> Seen:
    """One look that finds nothing and that nothing speaks against, but for ``fields``."""
    return seen(after_s, **{"trades": (), "positions": [position(100)], **fields})


def after(*events: Seen, record: OrderRecord = UNKNOWN) -> OrderState:
    state = State(exit_record(record))
    for event in events:
        state, _ = step(state, event)
    found = state.record.order(TAG)
    assert found is not None
    return found.state


def test_three_looks_two_seconds_apart_after_ten_quiet_ones_are_enough():
    assert after(look(0), look(10), look(12), look(14)) is OrderState.LOST


@pytest.mark.parametrize(
    "looks",
    [
        (0, 10, 12),  # two
        (0, 9.9, 12, 14),  # the first of them too early
        (0, 10, 11.9, 14),  # too close together
        (0, 10, 12, 13.9),
        (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),  # however many
        (14,),  # the quiet is counted from the first look, not from the send
        (20, 22, 24, 26),
    ],
)
def test_anything_less_is_not(looks):
    assert after(*map(look, looks)) is OrderState.UNKNOWN


def trade(order_id: str) -> TradeSnapshot:
    return TradeSnapshot(order_id, SYMBOL, Side.SELL, "MIS", 100, Decimal(1500))


DOUBTS: dict[str, dict[str, Any]] = {
    "the day's trades were not read": {"trades": None},
    "the broker shows a trade of an order": {"trades": (trade("7"),)},
    "the broker has sent news of this order": {"heard": {"9": booked("9", tag=TAG)}},
    "looks like this one": {"book": [booked("7")]},
    "cut like this one": {"book": [booked("7", tag=TAG[:2])]},
    "an order of ours is not in the book": {"known": [EARLIER]},
    "an order of ours has less filled": {
        "known": [EARLIER],
        "book": [booked("8", filled=10, quantity=40, tag="TG8")],
    },
    "an order of ours has not ended": {
        "known": [order(OrderState.CANCELLED, tag="TG8", broker_order_id="8", quantity=40)],
        "book": [booked("8", quantity=40, tag="TG8")],
    },
    "an order that was pushed is not in the book": {"heard": {"7": booked("7", tag="X")}},
    "an order that was pushed has ended": {
        "heard": {"7": booked("7", OrderStatus.CANCELLED, tag="X")},
        "book": [booked("7", tag="X")],
    },
    "the position has changed": {"positions": [position(0)]},
    "the position is gone": {"positions": []},
    "the position has changed back": {"book": [EARLIER_ROW]},
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_each_doubt_alone_keeps_an_order_from_being_called_lost(doubt):
    doubted = [look(moment, **DOUBTS[doubt]) for moment in range(0, 60, 2)]
    assert after(*doubted) is OrderState.UNKNOWN


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_doubt_makes_all_looks_before_it_worthless(doubt):
    begin = [look(0), look(10), look(12), look(13, **DOUBTS[doubt])]
    assert after(*begin, look(14), look(16)) is OrderState.UNKNOWN
    assert after(*begin, look(14), look(16), look(18)) is OrderState.LOST


def test_a_position_that_was_never_read_proves_nothing():
    unread = order(OrderState.UNKNOWN, opening=None)
    assert after(*map(look, range(0, 60, 2)), record=unread) is OrderState.UNKNOWN


def test_what_is_explained_by_the_book_is_no_doubt():
    fills = {"book": [EARLIER_ROW], "positions": [position(60)], "trades": (trade("8"),), "known": [EARLIER]}
    assert after(*(look(moment, **fills) for moment in (0, 10, 12, 14))) is OrderState.LOST


def test_what_speaks_against_is_noted_once_while_it_is_so():
    why = "Order TG0 is not in the book, but the position has changed by more than the order book explains."
    state, commands = step(State(exit_record(UNKNOWN)), look(0, positions=[position(0)]))
    assert commands[0] == Note("order_doubted", why)
    state, commands = step(state, look(1, positions=[position(0)]))
    assert commands == (Rest(1.0),)
    state, _ = step(state, look(2))
    assert step(state, look(3, positions=[position(0)]))[1][0] == Note("order_doubted", why)


@pytest.mark.parametrize("jump_s", [-86_400, 86_400])
def test_only_monotonic_time_counts(jump_s):
    def jumped(after_s: float) -> Seen:
        event = look(after_s)
        moment = Moment(NOW + after_s + jump_s, event.at.elapsed, TODAY)
        return Seen(moment, event.began, moment.time, event.book, event.positions, event.trades)

    assert after(look(0), jumped(1), jumped(2), jumped(3)) is OrderState.UNKNOWN
    assert after(look(0), jumped(10), jumped(12), jumped(14)) is OrderState.LOST


def test_a_look_counts_from_when_it_began():
    late = Seen(at(60), at(9.9).elapsed, at(9.9).time, (), (position(100),), ())
    absence = looked_for(UNKNOWN, exit_record(UNKNOWN), late, Absence(at(0).elapsed))
    assert absence.reads == 0


def test_who_forgets_counts_from_the_start():
    state = State(exit_record(UNKNOWN))
    for event in (look(0), look(10), look(12)):
        state, _ = step(state, event)
    state, _ = step(State(state.record, Memory()), Woken(at(13)))
    for event in (look(14), look(16), look(18), look(20)):
        state, _ = step(state, event)
    assert state.record.orders[0].state is OrderState.UNKNOWN


def test_an_order_that_is_known_to_be_there_is_not_looked_for():
    for known in (OrderState.ACKED, OrderState.LIVE, OrderState.CANCELLING):
        there = order(known, broker_order_id="9", cancel_asked_at=NOW)
        assert after(*map(look, range(0, 60, 2)), record=there) in (known, OrderState.CANCELLING)
