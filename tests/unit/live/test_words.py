from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from marketdata.models import BrokerAccount, Instrument
from strategies.live.words import event_words, strategy_words
from strategies.models import Strategy


def strategy(status: str = "active", position: str = "BOUGHT", **account: Any) -> Strategy:
    """A row that was never saved: nothing here reads the database."""
    return Strategy(
        user=User(username="trader"), status=status, position=position, quantity=10, stop_loss=Decimal(1490),
        account=BrokerAccount(name="Desk", broker="zerodha", **account),
        instrument=Instrument(exchange="NSE", tradingsymbol="INFY"),
    )  # fmt: skip


def test_armed_is_said_only_while_the_price_is_watched() -> None:
    assert strategy_words(strategy(), None, "").text == "Armed"

    said = strategy_words(strategy(), None, "the listeners are not running")
    assert (said.text, said.tone, said.detail) == (
        "Armed, not watched",
        "bad",
        "The listeners are not running",
    )


def test_a_stop_that_would_send_no_order_says_so() -> None:
    said = strategy_words(strategy(paper=True), None, "")

    assert said.text == "Armed, sends no order"
    assert "no order will be sent" in said.detail


def test_towards_a_real_broker_every_switch_that_is_off_is_named(settings: Any) -> None:
    settings.SIMULATED_BROKERS = frozenset()
    said = strategy_words(strategy(), None, "")

    assert said.text == "Armed, sends no order"
    assert "LIVE_TRADING" in said.detail


@pytest.mark.parametrize(
    ("status", "position", "text"),
    [
        ("draft", "BOUGHT", "Not started: the stop is off"),
        ("closed", "NONE", "Stopped: the stop is off"),
        ("suspended", "BOUGHT", "Suspended: the stop is off until you start it"),
        ("active", "NONE", "Watched only: no position, so nothing is sold"),
    ],
)
def test_every_other_state_has_its_words(status: str, position: str, text: str) -> None:
    assert strategy_words(strategy(status, position), None, "").text == text


def test_events_are_told_with_what_matters_and_without_column_decimals() -> None:
    assert event_words("started", {"stop_loss": "1490.0000000"}).text == (
        "Started: the stop is armed: stop loss 1490.00"
    )
    said = event_words("order_unknown", {"tag": "T1"})
    assert (said.text, said.tone) == ("Order sent, no answer: it may be live: tag T1", "bad")
    assert event_words("something_new", {"price": "no.price"}).text == "Something new: price no.price"
