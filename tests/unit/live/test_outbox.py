from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strategies.live.outbox import Counters, Credit, RateLimit


def credit() -> Credit:
    return Credit(frames=4, patience_s=10.0)


def test_without_acknowledgement_four_frames_leave() -> None:
    page = credit()
    for seq in (3, 5, 8):
        page.sent(seq)
    assert not page.is_used_up
    page.sent(9)
    assert page.is_used_up


def test_an_acknowledgement_covers_the_frames_before_it() -> None:
    page = credit()
    for seq in (3, 5, 8, 9):
        page.sent(seq)
    page.ack(2)
    assert page.is_used_up
    page.ack(8)
    for seq in (10, 11):
        page.sent(seq)
    assert not page.is_used_up


def test_a_page_that_keeps_its_credit_used_up_is_stalled_after_ten_seconds() -> None:
    page = credit()
    for seq in range(4):
        page.sent(seq)
    assert not page.is_stalled(100.0), "nothing to send: nobody waits"

    page.blocked(100.0)
    page.blocked(105.0)
    assert not page.is_stalled(110.0)
    assert page.is_stalled(110.1)

    page.ack(0)
    assert not page.is_stalled(200.0)


def test_a_page_that_pauses_owes_nothing() -> None:
    page = credit()
    for seq in range(4):
        page.sent(seq)
    page.blocked(100.0)
    page.clear()

    assert not page.is_used_up
    assert not page.is_stalled(200.0)


def test_a_gap_is_told_for_each_source_by_itself() -> None:
    counters = Counters()

    assert [counters.has_gap("a", n) for n in (7, 8, 10, 11)] == [False, False, True, False]
    assert not counters.has_gap("b", 1)
    assert counters.has_gap("a", 1), "its process started again"


@given(st.lists(st.floats(0, 10), max_size=60))
def test_the_rate_limit_never_lets_more_through_than_burst_and_rate(waits: list[float]) -> None:
    limit = RateLimit(per_s=2, burst=5)
    now, passed = 0.0, 0
    for wait in waits:
        now += wait
        passed += limit.allows(now)

    assert passed <= 5 + 2 * now


def test_the_rate_limit_lets_the_burst_through() -> None:
    limit = RateLimit(per_s=1, burst=3)

    assert [limit.allows(0.0) for _ in range(4)] == [True, True, True, False]
    assert limit.allows(1.0)
