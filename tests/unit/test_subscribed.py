"""What is wanted, what the connection carries, and which ticks only answer a subscription."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketdata.domain.errors import UnknownInstrument
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.subscribed import Subscribed

A, B = "NSE:INFY", "NSE:SBIN"


class Book:
    def __init__(self) -> None:
        self.tokens = {A: "1", B: "2"}

    def token(self, symbol: str) -> str:
        try:
            return self.tokens[symbol]
        except KeyError:
            raise UnknownInstrument(symbol) from None

    def symbol(self, token: str) -> str | None:
        return None

    def tick_size(self, symbol: str) -> Decimal | None:
        return None


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def subscribed(book: Book) -> Subscribed:
    return Subscribed(book, int, 2)


def tick(symbol: str, time: int | None = None) -> Tick:
    return Tick(symbol, 100, 0.0, time)


def test_new_and_changed_are_told_apart(subscribed: Subscribed) -> None:
    assert subscribed.want([A], FeedMode.LTP) == ([1], [])
    assert subscribed.want([A, B], FeedMode.FULL) == ([2], [1])
    assert subscribed.want([A, B], FeedMode.FULL) == ([], [])
    assert subscribed.modes == {A: FeedMode.FULL, B: FeedMode.FULL}


def test_an_unknown_symbol_changes_nothing(subscribed: Subscribed) -> None:
    with pytest.raises(UnknownInstrument):
        subscribed.want([A, "NSE:NOPE"], FeedMode.FULL)
    assert subscribed.modes == {}


def test_more_than_a_connection_carries_changes_nothing(book: Book, subscribed: Subscribed) -> None:
    book.tokens["NSE:TCS"] = "3"
    with pytest.raises(ValueError, match="3 instruments: one connection carries 2"):
        subscribed.want([A, B, "NSE:TCS"], FeedMode.FULL)
    assert subscribed.modes == {}


def test_dropping_names_only_what_was_carried(subscribed: Subscribed) -> None:
    subscribed.want([A], FeedMode.LTP)
    assert subscribed.drop([A, B]) == [1]
    assert subscribed.symbols == {}


def test_a_connection_looks_every_token_up_anew(book: Book, subscribed: Subscribed) -> None:
    subscribed.want([A, B], FeedMode.LTP)
    book.tokens = {A: "9"}
    assert subscribed.begin() == ({9: FeedMode.LTP}, [B])
    assert subscribed.symbols == {9: A}


def test_only_the_first_packet_of_a_subscription_is_first(subscribed: Subscribed) -> None:
    subscribed.want([A, B], FeedMode.LTP)
    marks = [t.is_first for t in subscribed.mark_first([tick(A), tick(A), tick(B)])]
    assert marks == [True, False, True]
    subscribed.begin()
    assert [t.is_first for t in subscribed.mark_first([tick(A), tick(A)])] == [True, False]


def test_in_full_mode_packets_without_time_are_part_of_the_answer(subscribed: Subscribed) -> None:
    subscribed.want([A], FeedMode.FULL)
    marks = [t.is_first for t in subscribed.mark_first([tick(A), tick(A), tick(A, 5), tick(A), tick(A, 6)])]
    assert marks == [True, True, True, False, False]


def test_a_change_of_mode_brings_a_last_known_value_again(subscribed: Subscribed) -> None:
    subscribed.want([A], FeedMode.LTP)
    subscribed.mark_first([tick(A)])
    subscribed.want([A], FeedMode.FULL)
    assert [t.is_first for t in subscribed.mark_first([tick(A), tick(A, 5), tick(A)])] == [True, True, False]
