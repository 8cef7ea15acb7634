"""Locked at the circuit limit: once in the queue at the limit, and left there while it is locked."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketdata.domain.orders import Quote, Side
from marketdata.domain.prices import to_units
from strategies.domain.events import CancelOrder, ReadAccount, Rest, Woken
from strategies.domain.exits import OrderState
from strategies.domain.pricing import is_locked
from strategies.domain.record import State
from strategies.domain.steps import step
from tests.support.steps import NOW, SYMBOL, at, booked, exit_record, order, position, seen

LOWER, UPPER = to_units(Decimal(900)), to_units(Decimal(1100))


def quote(price: int, **fields: int | None) -> Quote:
    return Quote(SYMBOL, price, **{"bid": 0, "ask": 0, "lower": LOWER, "upper": UPPER, **fields})


LOCKED = quote(LOWER, ask=LOWER)
OPEN = quote(LOWER, bid=LOWER)
QUEUED = order(OrderState.LIVE, broker_order_id="9", is_queued=True, price=Decimal(900))


@pytest.mark.parametrize(
    ("side", "shown", "locked"),
    [
        (Side.SELL, LOCKED, True),
        (Side.SELL, quote(LOWER, bid=None), True),
        (Side.SELL, OPEN, False),  # somebody buys
        (Side.SELL, quote(LOWER + 1), False),  # not at the limit
        (Side.SELL, quote(LOWER, lower=None), False),  # no limit known
        (Side.SELL, quote(UPPER), False),  # the other limit
        (Side.BUY, quote(UPPER), True),
        (Side.BUY, quote(UPPER, ask=UPPER), False),
        (Side.BUY, quote(UPPER - 1), False),
        (Side.BUY, quote(LOWER), False),
    ],
)
def test_locked_is_at_the_limit_with_nobody_on_the_other_side(side, shown, locked):
    assert is_locked(side, shown) is locked


def test_the_next_try_joins_the_queue_at_the_limit():
    rested = order(OrderState.CANCELLED, tag="TG1", cancels=1)
    state, _ = step(State(exit_record(rested)), seen(positions=[position(100)], plan=True, quote=LOCKED))
    queued = state.record.orders[-1]
    assert (queued.price, queued.is_queued) == (Decimal(900), True)


def test_in_the_queue_it_keeps_its_place_and_the_person_knows():
    after, commands = step(State(exit_record(QUEUED)), seen(3600, book=[booked("9")], quote=LOCKED))
    assert commands == (Rest(1.0),)
    assert "Locked at the circuit limit" in after.record.concern
    assert after.record.orders[0].is_queued


def test_once_a_minute_it_is_looked_whether_the_market_has_left_the_limit():
    state = State(exit_record(QUEUED))
    assert step(state, Woken(at(0)))[1] == (ReadAccount(quote=True),)
    state, _ = step(state, seen(0, book=[booked("9")], quote=LOCKED))
    assert step(state, Woken(at(59)))[1] == (ReadAccount(quote=False),)
    assert step(state, Woken(at(60)))[1] == (ReadAccount(quote=True),)
    state, _ = step(state, seen(60, book=[booked("9")]))  # no quote was to be had
    assert step(state, Woken(at(61)))[1] == (ReadAccount(quote=True),)


def test_when_it_has_the_order_is_an_ordinary_one_again():
    queued = order(OrderState.LIVE, broker_order_id="9", is_queued=True, sent_at=NOW - 600)
    after, commands = step(State(exit_record(queued)), seen(0, book=[booked("9")], quote=OPEN))
    assert not after.record.orders[0].is_queued
    assert commands == (CancelOrder("TG0", "9"),)


def test_an_order_that_is_not_queued_is_left_alone_by_a_quote():
    live = order(OrderState.LIVE, broker_order_id="9")
    after, _ = step(State(exit_record(live)), seen(0, book=[booked("9")], quote=OPEN))
    assert after.record.orders[0].broker_order_id == "9"
