"""When an account's feed counts as dead, over one connection or several."""

from __future__ import annotations

import pytest

from marketdata.domain.gate import ACCEPTED
from marketdata.domain.ticks import Tick
from marketdata.freshness import DEAD_S
from marketdata.liveness import UNSEEN_S, Liveness
from tests.fakes.clock import HandClock

A, B = "NSE:INFY", "NSE:SBIN"


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def ticked(liveness: Liveness, symbol: str, price: int = 100) -> None:
    liveness.by_ticks([(Tick(symbol, price, 0.0), ACCEPTED)])


@pytest.fixture
def feed(clock: HandClock) -> Liveness:
    """A feed that is connected and has brought both instruments."""
    liveness = Liveness(clock)
    liveness.connected([A, B])
    for symbol in (A, B):
        ticked(liveness, symbol)
    return liveness


def test_a_feed_that_ticks_needs_no_quotes(feed: Liveness) -> None:
    assert not feed.is_dead
    assert feed.due([A, B]) == set()


def test_one_that_is_cut_is_asked_for_after_a_second(feed: Liveness, clock: HandClock) -> None:
    feed.disconnected()
    clock.advance(DEAD_S - 0.1)
    assert feed.due([A, B]) == set()
    clock.advance(0.1)
    assert feed.due([A, B]) == {A, B}


def test_a_connection_that_has_brought_nothing_yet_is_dead(feed: Liveness, clock: HandClock) -> None:
    feed.disconnected()
    feed.connected([A, B])
    clock.advance(DEAD_S)
    assert feed.is_dead
    ticked(feed, A)
    assert not feed.is_dead


def test_while_one_of_two_connections_is_away_only_what_it_carries_is_asked_for(
    feed: Liveness, clock: HandClock
) -> None:
    feed.disconnected()
    for _ in range(3):
        clock.advance(DEAD_S)
        ticked(feed, A)
    assert feed.due([A, B]) == {B}


def test_what_stayed_connected_is_not_expected_to_answer_anew(feed: Liveness, clock: HandClock) -> None:
    feed.disconnected()
    feed.connected([B])
    clock.advance(6.0)
    assert feed.to_ask_again() == {B}


def test_silence_is_told_only_of_what_quotes_can_judge(feed: Liveness, clock: HandClock) -> None:
    clock.advance(10.0)
    feed.by_quotes({A: 101})
    clock.advance(4.0)
    assert feed.silent([A, B]) == {A: "no tick for 14 s while its price moved"}
    assert feed.unseen([A, B]) == feed.silent([A, B])
    clock.advance(UNSEEN_S)  # the exchange sleeps, or quotes fail: that is another trouble
    assert feed.silent([A, B]) == {}
    assert set(feed.unseen([A, B])) == {A, B}
