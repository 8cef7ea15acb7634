"""The monitor: who is judged by what, and what several feeds may do to one another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.orders import Quote
from marketdata.domain.ticks import Tick
from strategies.domain.breaches import Breach
from strategies.domain.stops import Stop
from strategies.monitor import Dispute, StopLossMonitor

INFY = "NSE:INFY"
ONE, TWO = 11, 12  # feeds of one user


class House:
    """A monitor with a clock that moves when told, and timers that fire then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.breaches: list[Breach] = []
        self.disputes: list[Dispute] = []
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self.monitor = StopLossMonitor(
            self.breaches.append, self, later=self.later, on_dispute=self.disputes.append
        )

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers.append((self.now + seconds, call))

    def move(self, seconds: float) -> None:
        self.now += seconds
        due = [call for at, call in self._timers if at <= self.now]
        self._timers = [(at, call) for at, call in self._timers if at > self.now]
        for call in due:
            call()

    def arm(
        self, price: int, *, strategy_id: int = 1, user: int = 1, epoch: int = 1, long: bool = True
    ) -> None:
        self.monitor.arm(Stop(strategy_id, epoch, user, INFY, price, long))

    def tick(self, price: int, *, feed: int = ONE, user: int = 1) -> None:
        self.monitor.on_ticks(user, [Tick(INFY, price, self.now, int(self.now))], feed)

    def hit(self) -> list[tuple[int, int]]:
        return [(breach.stop.strategy_id, breach.price) for breach in self.breaches]


@pytest.fixture
def house() -> House:
    return House()


def test_a_breach_is_handed_over_once(house):
    house.arm(100)
    for price in (101, 100, 99, 98):
        house.tick(price)
    assert house.hit() == [(1, 100)]


def test_a_stale_read_does_not_arm_what_has_been_hit(house):
    stop = Stop(1, 1, 1, INFY, 100, True)
    house.monitor.reconcile([stop])
    house.tick(100)
    house.monitor.reconcile([stop])
    house.tick(99)
    assert len(house.breaches) == 1
    house.monitor.reconcile([Stop(1, 2, 1, INFY, 90, True)])
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


def test_one_handover_that_fails_does_not_cost_the_next(house):
    def fail_first(breach: Breach) -> None:
        house.breaches.append(breach)
        if len(house.breaches) == 1:
            raise RuntimeError("no")

    house.monitor._on_breach = fail_first
    house.arm(100)
    house.arm(99, strategy_id=2)
    house.tick(90)
    assert sorted(house.hit()) == [(1, 90), (2, 90)]


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
    house.move(0.1)
    assert house.hit() == [(1, 99)]


def test_a_feed_that_has_gone_silent_has_no_opinion(house):
    disagree(house)
    house.move(6)
    house.tick(99, feed=TWO)
    assert house.hit() == [(1, 99)]


STEPS = st.lists(
    st.tuples(st.sampled_from((ONE, TWO)), st.integers(80, 140), st.floats(0.0, 2.0)), max_size=60
)


@given(STEPS)
def test_no_disagreement_ever_prevents_an_exit(steps):
    house = House()
    house.arm(100)
    touched_at = None
    for feed, price, wait in steps:
        house.tick(price, feed=feed)
        if price <= 100 and touched_at is None:
            touched_at = house.now
        house.move(wait)
        if touched_at is not None and house.now - touched_at >= 1.0:
            assert len(house.breaches) == 1
    assert len(house.breaches) <= 1
    assert touched_at is not None or not house.breaches
