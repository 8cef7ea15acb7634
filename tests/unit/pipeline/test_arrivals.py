"""What was subscribed to and has not answered."""

from __future__ import annotations

from marketdata.arrivals import FIRST_TICK_S, Arrivals

A, B, C = "NSE:INFY", "NSE:SBIN", "NSE:TCS"
LATER = 100.0 + FIRST_TICK_S


def test_what_answers_in_time_is_not_asked_again() -> None:
    arrivals = Arrivals()
    arrivals.expect([A, B], 100.0)
    arrivals.forget([A])
    assert arrivals.overdue(LATER - 0.1) == set()
    assert arrivals.to_ask_again(LATER) == {B}


def test_it_is_asked_again_once_then_missing_until_it_comes() -> None:
    arrivals = Arrivals()
    arrivals.expect([A], 100.0)
    assert arrivals.to_ask_again(LATER) == {A}
    assert arrivals.to_ask_again(LATER + 60) == set()
    assert arrivals.missing(LATER + FIRST_TICK_S - 0.1) == {}
    assert arrivals.missing(LATER + FIRST_TICK_S) == {A: 2 * FIRST_TICK_S}
    arrivals.forget([A])
    assert (arrivals.overdue(LATER + 99), arrivals.missing(LATER + 99)) == (set(), {})


def test_a_new_connection_begins_anew() -> None:
    arrivals = Arrivals()
    arrivals.expect([A, B], 100.0)
    arrivals.to_ask_again(LATER)
    arrivals.forget([A])
    arrivals.expect([B], 200.0)
    arrivals.expect([C], 202.0)
    assert arrivals.missing(300.0) == {}
    assert arrivals.overdue(200.0 + FIRST_TICK_S) == {B}
    assert arrivals.to_ask_again(202.0 + FIRST_TICK_S) == {B, C}
