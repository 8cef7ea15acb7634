"""What counts as evidence that a price is watched, and when a clock must be wrong."""

from __future__ import annotations

import pytest

from marketdata.domain.gate import BEFORE_OPEN, Decision, Gate
from marketdata.domain.sessions import Calendar
from marketdata.domain.ticks import Tick
from marketdata.freshness import DEAD_S, FEED_QUIET_S, GRACE_S, OFF_S, QUIET_S, Freshness, StampWatch

A, B = "NSE:INFY", "NSE:SBIN"
NOW = 1_800_000_000.0


def judged(gate: Gate, at: float, ahead_s: int = 0, price: int = 100, **more: bool) -> tuple[Tick, Decision]:
    tick = Tick(A, price, at, int(at) + ahead_s, **more)
    return tick, gate.judge(tick, at)


@pytest.fixture
def gate() -> Gate:
    return Gate(Calendar(always=True))


@pytest.mark.parametrize(
    ("ahead_s", "price", "is_evidence"),
    [(0, 100, True), (-9, 100, True), (35, 100, False), (-35, 100, False), (0, 0, False)],
)
def test_only_a_tick_that_may_trigger_is_evidence(
    gate: Gate, ahead_s: int, price: int, *, is_evidence: bool
) -> None:
    freshness = Freshness()
    freshness.by_ticks([judged(gate, NOW, ahead_s, price)], 50.0)
    assert (freshness.age_s(A, 50.0) == 0) is is_evidence


def test_each_symbol_has_its_own_age() -> None:
    freshness = Freshness()
    freshness.by_quotes({A: 1, B: 1}, 10.0)
    freshness.by_quotes({A: 1}, 18.0)
    assert [freshness.age_s(symbol, 20.0) for symbol in (A, B)] == [2.0, 10.0]
    assert freshness.age_s("NSE:LEFTOUT", 20.0) == float("inf")


def test_an_empty_answer_is_no_quote() -> None:
    freshness = Freshness()
    freshness.by_quotes({}, 10.0)
    assert freshness.quoted_at == float("-inf")


@pytest.mark.parametrize(
    ("age_s", "is_dead", "others_tick", "is_due"),
    [
        (DEAD_S, True, False, True),
        (DEAD_S - 0.1, True, False, False),
        (FEED_QUIET_S, False, False, True),
        (FEED_QUIET_S - 0.1, False, False, False),
        (FEED_QUIET_S, False, True, False),
        (QUIET_S, False, True, True),
    ],
)
def test_the_less_a_feed_brings_the_sooner_prices_are_asked_for(
    gate: Gate, age_s: float, *, is_dead: bool, others_tick: bool, is_due: bool
) -> None:
    freshness = Freshness()
    freshness.by_ticks([judged(gate, NOW)], 100.0)
    if others_tick:
        other = Tick(B, 1, NOW, int(NOW))
        freshness.by_ticks([(other, gate.judge(other, NOW))], 100.0 + age_s)
    assert freshness.due([A], 100.0 + age_s, is_dead=is_dead) == ({A} if is_due else set())


def behind(gate: Gate, *quotes: tuple[float, int]) -> Freshness:
    """Return what is known after a tick at 100 units and these quotes since (seconds, units)."""
    freshness = Freshness()
    freshness.by_ticks([judged(gate, NOW)], 0.0)
    for at, price in quotes:
        freshness.by_quotes({A: price}, at)
    return freshness


def test_a_price_that_moves_while_no_tick_comes_is_told_after_a_moment_of_grace(gate: Gate) -> None:
    freshness = behind(gate, (10.0, 101))
    assert freshness.due([A], 10.0 + DEAD_S, is_dead=False) == {A}
    assert freshness.left_behind(10.0 + GRACE_S - 0.1) == {}
    assert freshness.left_behind(10.0 + GRACE_S) == {A: 10.0 + GRACE_S}


@pytest.mark.parametrize(
    "quotes",
    [[(10.0, 100)], [(FEED_QUIET_S - 0.1, 101), (10.0, 100)], []],
    ids=["the same price", "before it was silent", "none"],
)
def test_silence_alone_accuses_nobody(gate: Gate, quotes: list[tuple[float, int]]) -> None:
    assert behind(gate, *quotes).left_behind(60.0) == {}


def test_what_only_ever_told_an_old_price_can_fall_silent_too(gate: Gate) -> None:
    freshness = Freshness()
    freshness.by_ticks([judged(gate, NOW, -3600, is_first=True)], 0.0)
    freshness.by_quotes({A: 101}, 10.0)
    assert A in freshness.left_behind(20.0)


def test_a_price_that_was_told_before_the_open_has_not_moved_since(gate: Gate) -> None:
    freshness = behind(gate)
    auction = Tick(A, 105, NOW, int(NOW))
    freshness.by_ticks([(auction, BEFORE_OPEN)], 5.0)
    freshness.by_quotes({A: 105}, 20.0)
    assert freshness.left_behind(60.0) == {}


def test_a_tick_or_a_new_connection_ends_it(gate: Gate) -> None:
    ticked, anew = behind(gate, (10.0, 101)), behind(gate, (10.0, 101))
    ticked.by_ticks([judged(gate, NOW + 20)], 20.0)
    anew.begin([A])
    assert (ticked.left_behind(60.0), anew.left_behind(60.0)) == ({}, {})


def test_one_price_in_two_notations_is_one_price(gate: Gate) -> None:
    freshness, price = Freshness(), 14_999_500_000
    freshness.by_ticks([judged(gate, NOW, price=price)], 0.0)
    freshness.by_quotes({A: price + 500}, 10.0)  # 0.00005 rupees: four bytes cannot tell
    assert freshness.left_behind(60.0) == {}


@pytest.mark.parametrize(
    ("ahead_s", "words"),
    [
        (35, "stamped 35 s ahead of this machine's clock: is it wrong?"),
        (-40, "stamped 40 s behind this machine's clock: is it wrong, or the feed lags?"),
    ],
)
def test_stamps_that_stay_off_are_told_with_what_to_do(gate: Gate, ahead_s: int, words: str) -> None:
    watch = StampWatch()
    for second in range(int(OFF_S) + 3):
        assert watch.trouble() == "" or second > OFF_S
        watch.note([judged(gate, NOW + second, ahead_s)], second)
    assert words in watch.trouble()
    assert "timedatectl" in watch.trouble()
    watch.note([judged(gate, NOW + 60)], 60.0)
    assert watch.trouble() == ""


def test_one_good_tick_in_between_begins_anew(gate: Gate) -> None:
    watch = StampWatch()
    for second in range(30):
        watch.note([judged(gate, NOW + second, 0 if second % 9 == 0 else 35)], second)
    assert watch.trouble() == ""


@pytest.mark.parametrize("more", [{}, {"is_trade_time": True}, {"is_first": True}])
def test_an_old_price_told_again_accuses_no_clock(gate: Gate, more: dict[str, bool]) -> None:
    watch = StampWatch()
    for second in range(30):
        watch.note([judged(gate, NOW + second, -3600 - second, **more)], second)
    assert watch.trouble() == ""


def test_before_the_open_a_right_stamp_clears_the_clock() -> None:
    gate, watch = Gate(Calendar()), StampWatch()
    early = 1_800_000_000.0 - 1_800_000_000.0 % 86400  # 05:30 in Mumbai
    for second in range(30):
        watch.note([judged(gate, early + second, 35 if second else 0)], second)
    assert watch.trouble()
    watch.note([judged(gate, early + 40)], 40.0)
    assert watch.trouble() == ""
