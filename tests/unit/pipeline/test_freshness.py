"""What counts as evidence that a price is watched, and when a clock must be wrong."""

from __future__ import annotations

import pytest

from marketdata.domain.gate import Decision, Gate
from marketdata.domain.sessions import Calendar
from marketdata.domain.ticks import Tick
from marketdata.freshness import OFF_S, Freshness, StampWatch

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
    assert (freshness.silence_s([A], 50.0) == 0) is is_evidence


def test_the_most_neglected_symbol_counts() -> None:
    freshness = Freshness()
    freshness.by_quotes([A, B], 10.0)
    freshness.by_quotes([A], 18.0)
    assert freshness.silence_s([A, B], 20.0) == 10.0
    assert freshness.silence_s([A, B, "NSE:LEFTOUT"], 20.0) == float("inf")
    assert freshness.silence_s([], 20.0) == 0.0


def test_an_empty_answer_is_no_quote() -> None:
    freshness = Freshness()
    freshness.by_quotes([], 10.0)
    assert freshness.quoted_at is None


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
