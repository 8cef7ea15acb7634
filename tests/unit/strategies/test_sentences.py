"""What a person is told: by the state alone, and never "sold" before a fill."""

from __future__ import annotations

from typing import Any

import pytest

from marketdata.domain.orders import RejectReason
from strategies.domain.exits import OrderState
from strategies.domain.record import ExitRecord, State, Trouble
from strategies.domain.sentences import REASONS, concern, covered_text, refused_text
from tests.support.steps import NOW, TAG, at, exit_record, order

EARLIER = at().elapsed - 2


def said(*orders: object, after_s: float = 0.0, **memory: object) -> str:
    record: ExitRecord = exit_record(*orders)  # type: ignore[arg-type]
    return concern(State(record).remembering(**memory), at(after_s))


def test_nothing_while_all_goes_its_way():
    assert said() == ""
    for state in (OrderState.PLANNED, OrderState.SENDING, OrderState.ACKED, OrderState.LIVE):
        assert said(order(state)) == ""
    assert said(order(OrderState.FILLED, filled=100)) == ""


def test_an_unknown_order_is_named_with_what_to_do_and_what_not():
    text = said(order(OrderState.UNKNOWN))
    assert "has not confirmed it" in text
    assert "Do not close the position by hand" in text
    assert TAG in text


def test_more_than_wanted_is_the_first_thing_said():
    both = [order(OrderState.UNKNOWN), order(OrderState.FILLED, tag="TG2", filled=100)]
    assert said(*both).startswith("OVERFILL: orders for 200 may fill, 100 were to be exited (tags TG0, TG2).")
    filled = [order(OrderState.FILLED, tag=tag, filled=100) for tag in ("TG1", "TG2")]
    assert "orders for 200 are filled" in said(*filled)


@pytest.mark.parametrize(
    ("memory", "text"),
    [
        ({"unread": Trouble(EARLIER, "502")}, "The broker cannot be read: 502. Trying again all the time."),
        ({"unsent": Trouble(EARLIER, "no route")}, "The exit order cannot be sent: no route. Trying again all the time."),
        ({"covered": Trouble(EARLIER, "Others.")}, "Others."),
        ({"asked": "What now?"}, "What now?"),
        ({"hold": "Off."}, "Off."),
        ({"asked": "What now?", "hold": "Off."}, "What now?"),
    ],
)  # fmt: skip
def test_what_lasts_is_told(memory, text):
    assert said(**memory) == text


@pytest.mark.parametrize("memory", ["unread", "unsent", "covered"])
def test_what_has_just_begun_is_not(memory):
    beginning: dict[str, Any] = {memory: Trouble(EARLIER + 0.1, "")}
    assert said(**beginning) == ""


def test_what_covers_a_position_is_named():
    assert covered_text([]) == "Other exit orders on their way cover the whole position: waiting for them."
    assert covered_text(["7", "8"]).startswith("Your own open order 7, 8 covers the position")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (OrderState.ACKED, "accepted the exit as order 9, but its order book does not show it"),
        (OrderState.LIVE, "The exit order 9 is at the exchange, not filled yet."),
    ],
)
def test_resting_is_told_after_ten_seconds(state, text):
    assert said(order(state), after_s=10) == ""
    assert text in said(order(state, broker_order_id="9"), after_s=10.1)
    assert said(order(state, sent_at=None), after_s=60) == ""


def test_a_cancel_without_a_word_is_told_after_fifteen_seconds():
    once = order(OrderState.CANCELLING, broker_order_id="9", cancels=1, cancel_asked_at=NOW, sent_at=NOW - 60)
    assert said(once, after_s=15) == ""
    assert "Order 9 is being cancelled" in said(once, after_s=15.1)
    assert said(once, after_s=-1) == "", "the clock was set back"
    twice = order(
        OrderState.CANCELLING, broker_order_id="9", cancels=2, cancel_asked_at=NOW, sent_at=NOW - 16
    )
    assert "No other order is sent before it has" in said(twice)


def test_locked_at_the_circuit_limit_is_told_at_once():
    assert "Order 9 waits" in said(order(OrderState.LIVE, is_queued=True, broker_order_id="9"))
    assert f"Order {TAG} waits" in said(order(OrderState.ACKED, is_queued=True))


@pytest.mark.parametrize("reason", [*RejectReason, None])
def test_a_refusal_has_plain_words_and_the_brokers_own(reason):
    text = refused_text(reason, "RMS:Rule 17")
    assert text.startswith("The broker refused the exit order.")
    assert text.endswith('The broker says: "RMS:Rule 17"')
    assert REASONS.get(reason, "") in text
    assert refused_text(reason, "").endswith("The broker gave no reason.")


@pytest.mark.parametrize("state", [s for s in OrderState if s is not OrderState.FILLED])
def test_nobody_is_told_that_something_was_sold_before_it_is(state):
    text = said(order(state, cancel_asked_at=NOW), after_s=60)
    assert not any(word in text.lower() for word in ("sold", "executed", "exited"))
