"""A halt, and an exchange that trades when the calendar says not: TK-06 and TK-07."""

from __future__ import annotations

from datetime import date, datetime, time

import pytest

from marketdata.domain.exchanges import ExchangeWatch, Kind
from marketdata.domain.gate import Gate
from marketdata.domain.orders import Quote
from marketdata.domain.sessions import IST, Calendar, Hours
from marketdata.domain.ticks import Tick
from tests.support.ticking import MONDAY


class Room:
    """An exchange whose instruments tell times, looked at each second."""

    def __init__(self, now: float = MONDAY, calendar: Calendar | None = None, exchange: str = "NSE") -> None:
        self.watch, self.calendar, self.now = ExchangeWatch(), calendar or Calendar(), now
        self.exchange = exchange
        self.times = [int(now)] * 5
        self.told: list[Kind] = []

    def run(self, seconds: int, *, moving: bool, is_alive: bool = True) -> list[Kind]:
        told: list[Kind] = []
        for _ in range(seconds):
            self.now += 1
            if moving:
                self.times = [int(self.now)] * len(self.times)
            news = self.watch.look({self.exchange: self.times}, self.now, self.calendar, is_alive=is_alive)
            told += [one.kind for one in news]
        return told


def test_one_minute_without_a_new_time_on_any_instrument_is_a_halt_told_once():
    room = Room()
    assert room.run(60, moving=False) == []
    assert room.run(600, moving=False) == [Kind.HALTED]
    assert room.watch.halted() == {"NSE"}
    assert room.run(5, moving=True) == [Kind.RESUMED]
    assert room.watch.halted() == frozenset()


def test_a_dead_feed_is_no_halt():
    assert Room().run(600, moving=False, is_alive=False) == []


def test_few_instruments_that_rest_are_no_halt():
    room = Room()
    room.times = [int(MONDAY), int(MONDAY) - 600, int(MONDAY) - 900]
    assert room.run(600, moving=False) == []


def test_the_close_is_no_halt_and_ends_one():
    room = Room(datetime(2026, 11, 23, 15, 29, 30, tzinfo=IST).timestamp())
    assert room.run(600, moving=False) == []
    room = Room(datetime(2026, 11, 23, 15, 25, tzinfo=IST).timestamp())
    assert room.run(600, moving=False) == [Kind.HALTED]
    assert room.watch.halted() == frozenset()


@pytest.mark.parametrize(("exchange", "calendar"), [("MCX", Calendar()), ("NSE", Calendar(always=True))])
def test_an_exchange_that_has_not_begun_today_has_not_halted(exchange: str, calendar: Calendar) -> None:
    room = Room(datetime(2026, 11, 24, 9, 0, tzinfo=IST).timestamp(), calendar, exchange)
    room.times = [int(datetime(2026, 11, 23, 23, 54, 59, tzinfo=IST).timestamp())] * 5
    assert room.run(120, moving=False) == []
    assert room.run(5, moving=True) == []
    assert room.run(120, moving=False) == [Kind.HALTED]


def test_a_closing_session_is_nothing_to_tell_of_and_an_evening_session_is():
    afternoon = Room(datetime(2026, 11, 23, 15, 30, tzinfo=IST).timestamp())
    assert afternoon.run(40 * 60, moving=True) == []
    evening = Room(datetime(2026, 11, 23, 18, 0, tzinfo=IST).timestamp())
    assert evening.run(60, moving=True) == [Kind.MISMATCH]
    assert evening.run(600, moving=True) == []


def test_a_saturday_session_is_told_within_a_minute_and_ends_when_it_is_entered():
    saturday = datetime(2026, 11, 21, 11, 0, tzinfo=IST).timestamp()
    assert Room(saturday).run(60, moving=True) == [Kind.MISMATCH]
    entered = Calendar({("NSE", date(2026, 11, 21)): Hours(time(9, 15), time(16))})
    assert Room(saturday, entered).run(60, moving=True) == []


class TestQuotesInAHalt:
    def test_only_a_fresh_time_of_their_own_lets_them_trigger(self):
        gate = Gate(Calendar())
        gate.halted = frozenset({"NSE"})
        assert not gate.admits(Quote("NSE:INFY", 100, int(MONDAY) - 90), MONDAY)
        assert not gate.admits(Quote("NSE:INFY", 100), MONDAY)
        assert gate.admits(Quote("NSE:INFY", 100, int(MONDAY)), MONDAY)
        assert gate.admits(Quote("BSE:INFY", 100), MONDAY)


def test_only_packets_times_count_not_trades():
    gate = Gate(Calendar())
    gate.judge(Tick("NSE:INFY", 100, MONDAY, int(MONDAY)), MONDAY, 7)
    gate.judge(Tick("NSE:TCS", 100, MONDAY, int(MONDAY), is_trade_time=True), MONDAY, 7)
    gate.judge(Tick("NSE:SBIN", 100, MONDAY), MONDAY, 7)
    assert gate.packet_times() == {"NSE": [int(MONDAY)]}
