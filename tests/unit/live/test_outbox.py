from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strategies.live.outbox import Counters, PriceOutbox, RateLimit


def outbox() -> PriceOutbox:
    return PriceOutbox(credit=4, patience_s=10.0)


def test_only_the_latest_price_of_each_symbol_is_sent() -> None:
    box = outbox()
    box.merge([["NSE:INFY", "1500.00", 1], ["NSE:SBIN", "800.00", 1]])
    box.merge([["NSE:INFY", "1500.05", 2]])

    assert box.take(0.0) == [["NSE:INFY", "1500.05", 2], ["NSE:SBIN", "800.00", 1]]
    assert box.take(0.0) == []


def test_without_acknowledgement_four_frames_leave_and_the_rest_waits_merged() -> None:
    box = outbox()
    for n in range(1, 10):
        box.merge([["NSE:INFY", f"{n}.00", n]])
        if box.take(0.0):
            box.sent(n)

    assert box.take(0.0) == []
    box.ack(1)
    assert box.take(0.0) == [["NSE:INFY", "9.00", 9]]


def test_an_acknowledgement_covers_the_frames_before_it() -> None:
    box = outbox()
    for n in (3, 5, 8, 9):
        box.sent(n)
    box.merge([["NSE:INFY", "1.00", 1]])
    box.ack(8)

    assert box.take(0.0)


def test_a_page_that_keeps_its_credit_used_up_is_stalled_after_ten_seconds() -> None:
    box = outbox()
    for n in range(4):
        box.sent(n)
    assert not box.is_stalled(100.0), "nothing to send: nobody waits"

    box.merge([["NSE:INFY", "1.00", 1]])
    assert box.take(100.0) == []
    assert not box.is_stalled(110.0)
    assert box.is_stalled(110.1)

    box.ack(0)
    assert not box.is_stalled(200.0)


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
