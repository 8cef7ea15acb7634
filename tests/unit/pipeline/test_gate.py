"""What a price may do."""

from __future__ import annotations

from datetime import datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain import gate
from marketdata.domain.gate import Decision, Gate, decide
from marketdata.domain.orders import Quote
from marketdata.domain.sessions import IST, Calendar, Hours, Phase
from marketdata.domain.ticks import Tick

NOW = datetime(2026, 11, 23, 11, 0, tzinfo=IST).timestamp()
PRICE = 1_500 * 10_000_000
TIMED = Tick("NSE:INFY", PRICE, NOW, int(NOW))
UNTIMED = Tick("NSE:INFY", PRICE, NOW)


def judged(tick: Tick, *, phase: Phase = Phase.OPEN, newest: int | None = None) -> Decision:
    return decide(tick, now=NOW, phase=phase, newest=newest)


@pytest.mark.parametrize("price", [0, -1, -PRICE])
@pytest.mark.parametrize("tick", [TIMED, UNTIMED])
def test_zero_and_below_are_refused_altogether(tick: Tick, price: int) -> None:
    decision = judged(tick._replace(price=price))
    assert decision is gate.NO_PRICE
    assert not decision.is_shown
    assert not decision.is_actionable


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, gate.ACCEPTED),
        (10, gate.ACCEPTED),
        (11, gate.STALE),
        (86_400, gate.STALE),
        (-5, gate.ACCEPTED),
        (-30, gate.ACCEPTED),
        (-31, gate.FUTURE),
        (-86_400, gate.FUTURE),
    ],
)
def test_a_price_triggers_while_its_exchange_time_is_fresh(age: int, expected: Decision) -> None:
    assert judged(TIMED._replace(exchange_time=int(NOW) - age)) is expected
    assert expected.is_shown


def test_a_fresh_first_packet_with_time_may_trigger() -> None:
    assert judged(TIMED._replace(is_first=True)) is gate.ACCEPTED


def test_a_first_packet_without_time_is_shown_only() -> None:
    decision = judged(UNTIMED._replace(is_first=True))
    assert decision is gate.FIRST_WITHOUT_TIME
    assert decision.is_shown
    assert not decision.is_actionable
    assert judged(UNTIMED) is gate.ACCEPTED


@pytest.mark.parametrize("tick", [TIMED, UNTIMED])
def test_outside_the_session_nothing_triggers(tick: Tick) -> None:
    assert judged(tick, phase=Phase.BEFORE_OPEN) is gate.BEFORE_OPEN
    assert judged(tick, phase=Phase.AFTER_CLOSE) is gate.AFTER_CLOSE


def test_on_a_closed_day_a_fresh_exchange_time_outweighs_the_calendar() -> None:
    assert judged(TIMED, phase=Phase.CLOSED_DAY) is gate.ACCEPTED
    assert judged(UNTIMED, phase=Phase.CLOSED_DAY) is gate.CLOSED_DAY
    assert judged(TIMED._replace(exchange_time=int(NOW) - 60), phase=Phase.CLOSED_DAY) is gate.STALE


def test_an_overtaken_price_still_triggers_but_does_not_replace_the_newer() -> None:
    late = TIMED._replace(exchange_time=int(NOW) - 3)
    decision = judged(late, newest=int(NOW))
    assert decision is gate.LATE
    assert decision.is_actionable
    assert not decision.is_shown


def test_an_overtaken_stale_price_is_dropped() -> None:
    assert judged(TIMED._replace(exchange_time=int(NOW) - 60), newest=int(NOW)) is gate.OUT_OF_ORDER


def test_a_duplicate_is_as_good_as_the_first() -> None:
    assert judged(TIMED, newest=int(NOW)) is gate.ACCEPTED


@pytest.mark.parametrize(
    ("phase", "age", "expected"),
    [
        (Phase.OPEN, None, True),
        (Phase.OPEN, 7200, True),
        (Phase.BEFORE_OPEN, 0, False),
        (Phase.AFTER_CLOSE, 0, False),
        (Phase.AFTER_CLOSE, None, False),
        (Phase.CLOSED_DAY, 5, True),
        (Phase.CLOSED_DAY, 11, False),
        (Phase.CLOSED_DAY, None, False),
    ],
)
def test_a_quote_is_fresh_on_arrival_in_the_session_only(
    phase: Phase, age: int | None, *, expected: bool
) -> None:
    stamp = None if age is None else int(NOW) - age
    assert gate.may_trigger_by_quote(stamp, now=NOW, phase=phase) is expected


TRADE = TIMED._replace(exchange_time=int(NOW) - 600, is_trade_time=True)
BEFORE = int(NOW) - 7200


class TestTheLastTradesTime:
    """Of a feed that tells only when the last trade was."""

    def test_a_later_trade_is_fresh_however_late_it_is_told(self) -> None:
        assert judged(TRADE, newest=BEFORE) is gate.ACCEPTED

    def test_the_same_trade_told_again_is_no_news(self) -> None:
        assert judged(TRADE, newest=TRADE.exchange_time) is gate.STALE

    def test_the_answer_to_a_subscription_is_no_news(self) -> None:
        assert judged(TRADE._replace(is_first=True), newest=BEFORE) is gate.STALE
        assert judged(TRADE, newest=None) is gate.STALE

    def test_a_packets_time_is_not_a_trades(self) -> None:
        assert judged(TRADE._replace(is_trade_time=False), newest=BEFORE) is gate.STALE

    @pytest.mark.parametrize(
        ("phase", "expected"), [(Phase.AFTER_CLOSE, gate.STALE), (Phase.CLOSED_DAY, gate.STALE)]
    )
    def test_outside_the_session_only_the_age_counts(self, phase: Phase, expected: Decision) -> None:
        assert judged(TRADE, newest=BEFORE, phase=phase) is expected

    def test_a_time_from_the_future_is_no_news_either(self) -> None:
        assert judged(TRADE._replace(exchange_time=int(NOW) + 31), newest=BEFORE) is gate.FUTURE

    def test_a_fresh_one_needs_no_news(self) -> None:
        fresh = TRADE._replace(exchange_time=int(NOW) - 3)
        assert judged(fresh, newest=fresh.exchange_time) is gate.ACCEPTED

    def test_one_that_trades_rarely_triggers_at_each_trade_and_not_between(self) -> None:
        room = Gate(Calendar())
        first = TRADE._replace(exchange_time=BEFORE, is_first=True)
        assert room.judge(first, NOW, 7) is gate.STALE
        assert room.judge(first._replace(is_first=False), NOW, 7) is gate.STALE
        assert room.judge(TRADE, NOW, 7) is gate.ACCEPTED
        assert room.judge(TRADE, NOW, 7) is gate.STALE

    def test_the_first_trade_of_the_day_is_news(self) -> None:
        room = Gate(Calendar())
        assert room.judge(TRADE._replace(exchange_time=None, is_first=True), NOW) is gate.FIRST_WITHOUT_TIME
        assert room.judge(TRADE, NOW) is gate.ACCEPTED


@given(
    st.builds(
        Tick,
        st.just("NSE:INFY"),
        st.integers(-(10**16), 10**16),
        st.just(NOW),
        st.none() | st.integers(int(NOW) - 100_000, int(NOW) + 100_000),
        st.booleans(),
    ),
    st.sampled_from(Phase),
    st.none() | st.integers(int(NOW) - 100, int(NOW) + 30),
)
def test_whatever_comes_is_judged_and_nothing_bad_triggers(
    tick: Tick, phase: Phase, newest: int | None
) -> None:
    decision = decide(tick, now=NOW, phase=phase, newest=newest)
    assert decision in gate.DECISIONS
    if decision.is_actionable:
        assert tick.price > 0
        assert not phase.is_outside
        assert tick.exchange_time is None or -30 <= NOW - tick.exchange_time <= 10
        assert tick.exchange_time is not None or not tick.is_first


class TestGate:
    def test_counts_by_reason(self) -> None:
        room = Gate(Calendar())
        for tick in (TIMED, TIMED, TIMED._replace(price=0)):
            room.judge(tick, NOW)
        assert room.counts["accepted"] == 2
        assert room.counts["no_price"] == 1
        assert sum(room.counts.values()) == 3

    def test_remembers_the_newest_time_by_symbol(self) -> None:
        room = Gate(Calendar())
        assert room.judge(TIMED, NOW) is gate.ACCEPTED
        older = TIMED._replace(exchange_time=int(NOW) - 2)
        assert room.judge(older, NOW) is gate.LATE
        assert room.judge(older._replace(symbol="NSE:SBIN"), NOW) is gate.ACCEPTED

    def test_one_feed_does_not_make_anothers_prices_late(self) -> None:
        room = Gate(Calendar())
        assert room.judge(TIMED, NOW, 1) is gate.ACCEPTED
        older = TIMED._replace(exchange_time=int(NOW) - 2)
        assert room.judge(older, NOW, 2) is gate.ACCEPTED
        assert room.judge(older, NOW, 1) is gate.LATE

    def test_what_one_feed_told_is_still_news_on_another(self) -> None:
        room = Gate(Calendar())
        for feed in (1, 2):
            room.judge(TRADE._replace(exchange_time=BEFORE, is_first=True), NOW, feed)
        assert room.judge(TRADE, NOW, 1) is gate.ACCEPTED
        assert room.judge(TRADE, NOW, 2) is gate.ACCEPTED

    def test_a_time_from_the_future_does_not_make_the_true_ones_late(self) -> None:
        room = Gate(Calendar())
        assert room.judge(TIMED._replace(exchange_time=int(NOW) + 3600), NOW) is gate.FUTURE
        assert room.judge(TIMED, NOW) is gate.ACCEPTED

    def test_admits_quotes_by_the_hour_of_their_exchange(self) -> None:
        room = Gate(Calendar())
        evening = datetime(2026, 11, 23, 18, 0, tzinfo=IST).timestamp()
        assert room.admits(Quote("NSE:INFY", PRICE), NOW)
        assert not room.admits(Quote("NSE:INFY", 0), NOW)
        assert not room.admits(Quote("NSE:INFY", PRICE), evening)
        assert room.admits(Quote("MCX:GOLDM", PRICE), evening)

    def test_notices_the_close(self) -> None:
        room = Gate(Calendar())
        close = datetime(2026, 11, 23, 15, 30, tzinfo=IST).timestamp()
        last = TIMED._replace(exchange_time=int(close))
        assert room.judge(last, close - 0.5) is gate.ACCEPTED
        assert room.judge(last, close) is gate.AFTER_CLOSE

    def test_a_new_calendar_counts_at_once(self) -> None:
        room = Gate(Calendar())
        assert room.judge(TIMED, NOW) is gate.ACCEPTED
        evening = {("NSE", datetime.fromtimestamp(NOW, IST).date()): Hours(time(18), time(19))}
        room.set_calendar(Calendar(evening))
        assert room.judge(TIMED, NOW) is gate.BEFORE_OPEN

    def test_always_turns_off_the_calendar_but_not_the_age(self) -> None:
        room = Gate(Calendar(always=True))
        night = datetime(2026, 11, 22, 3, 0, tzinfo=IST).timestamp()
        assert room.judge(TIMED._replace(exchange_time=int(night)), night) is gate.ACCEPTED
        assert room.judge(TIMED._replace(exchange_time=int(night) - 11), night) is gate.OUT_OF_ORDER
        assert (
            room.judge(TIMED._replace(symbol="NSE:SBIN", exchange_time=int(night) - 11), night) is gate.STALE
        )


def test_orders_are_taken_in_the_session_and_where_it_evidently_trades() -> None:
    of_day = Gate(Calendar())
    sunday = datetime(2026, 11, 22, 11, 0, tzinfo=IST).timestamp()
    assert not of_day.takes_orders("NSE:INFY", sunday), "an exit that is held must not leave at midnight"
    of_day.judge(Tick("NSE:INFY", PRICE, sunday, int(sunday)), sunday)
    assert of_day.takes_orders("NSE:INFY", sunday + 5)
    assert not of_day.takes_orders("NSE:INFY", sunday + 60)
    assert not of_day.takes_orders("NSE:SBIN", sunday + 5)
    assert of_day.takes_orders("NSE:INFY", NOW)
    assert not of_day.takes_orders("NSE:INFY", NOW + 6 * 3600)
