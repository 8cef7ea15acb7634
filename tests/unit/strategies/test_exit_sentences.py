"""What a person reads of an exit, word for word, in every state it and its order can be in."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from marketdata.domain.orders import RejectReason
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.sentences import REASONS, refused_text
from strategies.live.words import event_words
from strategies.models import Exit, ExitOrder
from strategies.reporting import sentence

SAYS_DONE = re.compile(r"\b(sold|bought|exited|filled:)\b", re.IGNORECASE)

WAITING = {
    OrderState.PLANNED: "Triggered: about to send the order.",
    OrderState.SENDING: "Sending the order.",
    OrderState.UNKNOWN: "Sent, not confirmed by the broker.",
    OrderState.ACKED: "Accepted by the broker, not filled yet.",
    OrderState.LIVE: "At the exchange, not filled yet.",
    OrderState.CANCELLING: "Being cancelled at the exchange, not filled yet.",
    OrderState.CANCELLED: "Cancelled, nothing filled.",
    OrderState.REJECTED: 'The broker refused the exit order. The broker says: "no reason we know"',
    OrderState.VOID: "The order was not sent yet.",
    OrderState.LOST: "Sent, but the broker does not show it: it is looked for until the day ends.",
    OrderState.FILLED: "Filled at the broker, quantity not known yet.",
}


def order(state: OrderState, *, side: str = "SELL", filled: int = 0, price: str | None = None) -> ExitOrder:
    return ExitOrder(
        state=state, side=side, quantity=100, filled_quantity=filled, message="no reason we know",
        average_price=None if price is None else Decimal(price),
    )  # fmt: skip


def said(*orders: ExitOrder, state: ExitState = ExitState.WORKING, concern: str = "") -> str:
    return sentence(Exit(state=state, quantity=100, concern=concern), list(orders))


@pytest.mark.parametrize("state", OrderState)
@pytest.mark.parametrize("side", ["SELL", "BUY"])
def test_without_a_fill_nothing_is_called_sold(state: OrderState, side: str) -> None:
    assert said(order(state, side=side)) == WAITING[state]
    assert not SAYS_DONE.search(WAITING[state])


def test_before_any_order() -> None:
    assert said(state=ExitState.TRIGGERED) == "Triggered: reading the position."


def test_part_of_it() -> None:
    part = order(OrderState.LIVE, filled=40, price="1489.95")
    assert said(part) == "Partly filled: 40 of 100 (sold 40 @ 1489.95)."
    assert said(order(OrderState.LIVE, side="BUY", filled=40)) == (
        "Partly filled: 40 of 100 (bought back 40 @ price not known yet)."
    )


def test_all_of_it() -> None:
    first = order(OrderState.CANCELLED, filled=40, price="1489.95")
    second = order(OrderState.FILLED, filled=60, price="1489.5")
    assert said(first, second, state=ExitState.DONE) == "Filled: sold 40 @ 1489.95, sold 60 @ 1489.50."


def test_the_rest_had_gone_already() -> None:
    part = order(OrderState.CANCELLED, filled=40, price="1489.95")
    assert said(part, state=ExitState.DONE) == (
        "Filled: sold 40 @ 1489.95. The rest of the position was already closed."
    )
    nothing = said(order(OrderState.CANCELLED), state=ExitState.DONE)
    assert nothing == "The position was already closed: no order of this exit was filled."
    assert not SAYS_DONE.search(nothing.removesuffix("was filled."))


@pytest.mark.parametrize("state", [ExitState.NEEDS_HUMAN, ExitState.ABORTED])
def test_what_a_person_has_to_know_comes_before_all_else(state: ExitState) -> None:
    assert said(order(OrderState.LIVE), state=state, concern="Look at the broker.") == "Look at the broker."
    assert said(state=ExitState.ABORTED) == "No order was needed."


@pytest.mark.parametrize("reason", set(RejectReason) - {RejectReason.OTHER})
def test_every_refusal_says_why_in_plain_words_and_in_the_broker_s_own(reason: RejectReason) -> None:
    words = 'RMS:Rule: "x" <b>'
    refused = order(OrderState.REJECTED)
    refused.reject_reason, refused.message = reason, words

    assert said(refused) == f'The broker refused the exit order. {REASONS[reason]} The broker says: "{words}"'
    assert said(refused) == refused_text(reason, words)


def test_a_refusal_without_words_says_so() -> None:
    assert refused_text(None, "") == "The broker refused the exit order. The broker gave no reason."


@pytest.mark.parametrize("state", [state for state in OrderState if state is not OrderState.FILLED])
def test_the_event_of_an_order_says_no_more_than_its_state(state: OrderState) -> None:
    assert not SAYS_DONE.search(event_words(f"order_{state.value}", {"tag": "TG1X"}).text)
