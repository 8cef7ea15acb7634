"""The monitor: who is judged by what, and what several feeds may do to one another."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.orders import Quote
from marketdata.domain.prices import to_units
from marketdata.domain.ticks import Tick
from strategies.domain.breaches import Breach
from strategies.domain.questions import Dispute
from strategies.domain.rules import FixedStop
from tests.support.watching import INFY, ONE, TWO, House, stop


@pytest.fixture
def house() -> House:
    return House()


def test_a_breach_is_handed_over_once(house):
    house.arm(100)
    for price in (101, 100, 99, 98):
        house.tick(price)
    assert house.hit() == [(1, 100)]


def test_a_stale_read_does_not_arm_what_has_been_hit(house):
    seen = stop(FixedStop(100, True))
    house.monitor.reconcile([seen])
    house.tick(100)
    house.monitor.reconcile([seen])
    house.tick(99)
    assert len(house.breaches) == 1
    house.monitor.reconcile([stop(FixedStop(90, True), epoch=2)])
    house.tick(90)
    assert [breach.stop.epoch for breach in house.breaches] == [1, 2]


def test_a_stop_armed_through_a_fresh_price_is_hit_at_once(house):
    house.arm(50)
    house.tick(95)
    house.arm(100, strategy_id=2)
    assert house.hit() == [(2, 95)]


def test_a_stop_armed_through_an_old_price_waits_for_a_new_one(house):
    house.arm(50)
    house.tick(95)
    house.move(11)
    house.arm(100, strategy_id=2)
    assert not house.breaches


def test_what_is_touched_together_comes_together_the_largest_loss_first(house):
    house.arm(100, quantity=3)
    house.arm(99, strategy_id=2, quantity=500)
    house.arm(113, strategy_id=3, quantity=40, long=False)
    house.tick(110, 95, 113)
    assert [[(b.stop.strategy_id, b.loss_rate) for b in batch] for batch in house.batches] == [
        [(2, 475), (3, 45), (1, 2)]  # a per cent of 500 x 95, of 40 x 113, of 3 x 95
    ]


def test_all_quotes_make_one_hand_over(house):
    for strategy_id, symbol in enumerate((INFY, "NSE:TCS", "NSE:SBIN"), start=1):
        house.monitor.arm(
            stop(FixedStop(100, True), strategy_id=strategy_id, symbol=symbol, quantity=10**strategy_id)
        )
    quotes = {symbol: Quote(symbol, 90) for symbol in (INFY, "NSE:TCS", "NSE:SBIN", "NSE:NONE")}
    house.monitor.on_quotes(1, quotes, house.now)
    assert [[breach.stop.strategy_id for breach in batch] for batch in house.batches] == [[3, 2, 1]]


async def test_one_price_from_outside_makes_one_hand_over_for_all_users(house):
    house.arm(to_units(Decimal(100)), quantity=1)
    house.arm(to_units(Decimal(100)), strategy_id=2, user=2, quantity=2)
    await house.monitor.on_price_update(INFY, Decimal(100))
    assert [[breach.stop.strategy_id for breach in batch] for batch in house.batches] == [[2, 1]]


def test_stops_armed_together_through_a_fresh_price_make_one_hand_over(house):
    house.arm(50)
    house.tick(90)
    house.monitor.reconcile([stop(FixedStop(100, True), strategy_id=pk, quantity=10 * pk) for pk in (2, 3)])
    assert [[breach.stop.strategy_id for breach in batch] for batch in house.batches] == [[3, 2]]


def test_a_hand_over_that_fails_is_tried_again_while_the_database_says_armed(house):
    def fail(breaches: list[Breach]) -> None:
        raise RuntimeError("no")

    armed = [stop(FixedStop(100, True)), stop(FixedStop(100, True), strategy_id=2)]
    house.monitor.reconcile(armed)
    house.monitor._on_breaches, take = fail, house.monitor._on_breaches
    house.tick(90)
    house.monitor._on_breaches = take
    assert not house.monitor.armed_count
    house.monitor.reconcile(armed[:1])  # the other one was taken before the failure
    assert house.hit() == [(1, 90)]


def test_a_tick_that_fails_does_not_cost_the_breach_before_it(house, monkeypatch):
    house.arm(100)
    house.monitor.arm(stop(FixedStop(100, True), strategy_id=2, symbol="NSE:TCS"))
    monkeypatch.setattr(house.monitor._watches[1]["NSE:TCS"], "agreement", None)
    with pytest.raises(AttributeError):
        house.monitor.on_ticks(1, [Tick(INFY, 90, house.now), Tick("NSE:TCS", 90, house.now)])
    assert house.hit() == [(1, 90)]


def test_a_dispute_that_cannot_be_told_does_not_cost_the_exit(house):
    def fail(dispute: Dispute) -> None:
        raise RuntimeError("no")

    house.monitor._on_dispute = fail
    disagree(house)
    house.tick(99, feed=TWO)
    house.move(1)
    assert house.hit() == [(1, 99)]


def test_quotes_count_whenever_they_last_traded_but_not_without_a_price(house):
    house.arm(100)
    house.monitor.on_quotes(1, {INFY: Quote(INFY, 0)}, house.now)
    assert not house.breaches
    house.monitor.on_quotes(1, {INFY: Quote(INFY, 99, exchange_time=1)}, house.now)
    assert [breach.source for breach in house.breaches] == ["quote"]


def test_users_do_not_share_feeds(house):
    house.arm(100)
    house.tick(1, user=2)
    assert not house.breaches


def test_of_two_feeds_the_first_price_wins(house):
    house.arm(100)
    house.tick(105, feed=ONE)
    house.tick(99, feed=TWO)
    assert house.hit() == [(1, 99)]


def test_feeds_that_disagree_for_long_are_told_of_once(house):
    house.arm(50)
    for _ in range(4):
        house.tick(105, feed=ONE)
        house.tick(103, feed=TWO)
        house.move(0.5)
    assert [dict(dispute.prices) for dispute in house.disputes] == [{ONE: 105, TWO: 103}]


def test_feeds_within_the_band_agree(house):
    house.arm(50)
    for _ in range(10):
        house.tick(1000, feed=ONE)
        house.tick(1010, feed=TWO)
        house.move(0.5)
    assert not house.disputes


def disagree(house: House) -> None:
    house.arm(100)
    for _ in range(4):
        house.tick(130, feed=ONE)
        house.tick(110, feed=TWO)
        house.move(0.4)


def test_a_disputed_touch_waits_for_one_confirming_tick(house):
    disagree(house)
    house.tick(99, feed=TWO)
    assert not house.breaches
    house.move(0.2)
    house.tick(98, feed=TWO)
    assert house.hit() == [(1, 98)]
    house.move(2)
    assert len(house.breaches) == 1


def test_a_disputed_touch_nobody_confirms_counts_after_a_second(house):
    disagree(house)
    house.tick(99, feed=TWO)
    house.move(0.9)
    assert not house.breaches
    assert house.monitor.is_in_doubt(1)
    assert not house.monitor.is_in_doubt(2)
    house.move(0.1)
    assert house.hit() == [(1, 99)]
    assert not house.monitor.is_in_doubt(1)


def test_a_held_touch_that_reaches_further_than_its_confirmation_keeps_its_time(house):
    house.arm(95, strategy_id=2)
    disagree(house)
    house.tick(94, feed=TWO)
    house.tick(99, feed=TWO)
    assert house.hit() == [(1, 99)]
    house.move(1)
    assert house.hit() == [(1, 99), (2, 94)]


def test_a_new_touch_is_held_its_own_second_after_another_was_confirmed(house):
    house.arm(90, strategy_id=2)
    disagree(house)
    house.tick(99, feed=TWO)
    house.move(0.5)
    house.tick(98, feed=TWO)
    house.tick(90, feed=TWO)
    house.move(0.6)  # the first touch's second is over, not the second one's
    assert house.hit() == [(1, 98)]
    house.move(0.4)
    assert house.hit() == [(1, 98), (2, 90)]


def test_a_feed_that_has_gone_silent_has_no_opinion(house):
    disagree(house)
    house.move(6)
    house.tick(99, feed=TWO)
    assert house.hit() == [(1, 99)]


STEPS = st.lists(
    st.tuples(st.sampled_from((ONE, TWO)), st.integers(100, 120), st.floats(0.0, 2.0)), max_size=60
)


@given(STEPS, st.sets(st.integers(99, 112), min_size=1, max_size=4))
def test_no_disagreement_ever_prevents_an_exit(steps, levels):
    house = House()
    touched_at: dict[int, float] = {}
    for level in levels:
        house.arm(level, strategy_id=level)
    for feed, price, wait in steps:
        house.tick(price, feed=feed)
        for level in levels:
            if price <= level:
                touched_at.setdefault(level, house.now)
        house.move(wait)
        due = {level for level, at in touched_at.items() if house.now - at >= 1.0}
        assert due <= {level for level, _ in house.hit()} <= touched_at.keys()
    assert len(house.hit()) == len({level for level, _ in house.hit()})


# No two prices are so far apart that one of them would be held for a freak.
BATCHES = st.lists(st.lists(st.integers(91, 109), min_size=1, max_size=6), max_size=12)
HOLDINGS = st.lists(st.tuples(st.integers(91, 109), st.booleans(), st.integers(1, 10_000)), max_size=12)


def walk(holdings, batches) -> list[list[Breach]]:
    house = House()
    for pk, (price, long, quantity) in enumerate(holdings):
        house.arm(price, long=long, strategy_id=pk, quantity=quantity)
    for batch in batches:
        house.tick(*batch)
    return house.batches


@given(HOLDINGS, BATCHES)
def test_any_ticks_agree_with_trying_every_stop_on_every_tick(holdings, batches):
    left, expected = dict(enumerate(holdings)), []
    for batch in batches:
        hit = {}
        for price in batch:
            for pk, (level, long, quantity) in list(left.items()):
                if price <= level if long else price >= level:
                    hit[pk] = (quantity * price // 100, price)
                    del left[pk]
        expected += [hit] if hit else []
    found = walk(holdings, batches)
    assert [{b.stop.strategy_id: (b.loss_rate, b.price) for b in batch} for batch in found] == expected
    for batch in found:
        rates = [breach.loss_rate for breach in batch]
        assert rates == sorted(rates, reverse=True)
        assert {breach.reason for breach in batch} == {"stop_loss"}


@given(HOLDINGS, BATCHES)
def test_the_market_upside_down_with_sides_turned_decides_the_same(holdings, batches):
    turned = [(200 - price, not long, quantity) for price, long, quantity in holdings]
    upside_down = walk(turned, [[200 - price for price in batch] for batch in batches])
    assert [{(b.stop.strategy_id, 200 - b.price) for b in batch} for batch in upside_down] == [
        {(b.stop.strategy_id, b.price) for b in batch} for batch in walk(holdings, batches)
    ]
