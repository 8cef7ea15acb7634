"""What is asked of Dhan's feed, and what its answers call for."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from marketdata.brokers.dhan.goodbyes import goodbye
from marketdata.brokers.dhan.listener import DhanMarketListener
from marketdata.domain.errors import (
    BrokerRejected,
    BrokerUnavailable,
    LoginExpired,
    TryLater,
    UnknownInstrument,
)
from marketdata.domain.ticks import FeedMode
from marketdata.instruments import InstrumentBook
from marketdata.ports import BrokerConfig
from marketdata.secret import Secret
from marketdata.transport import HandshakeRefused
from tests.support.dhan_frames import full

PAISA = Decimal("0.05")
SYMBOLS = [f"NSE:S{n}" for n in range(250)]
BOOK = InstrumentBook.of(
    "dhan",
    [
        *(("NSE", f"S{n}", f"NSE_EQ:{n}", PAISA, 1, None) for n in range(250)),
        ("NSE", "NIFTY 50", "IDX_I:13", PAISA, 1, None),
        ("NSE", "OLD", "2885", PAISA, 1, None),
    ],
)
CONFIG = BrokerConfig(7, "dhan", "1000000001", "", access_token=Secret("a.b&c"))


@pytest.fixture
def listener() -> DhanMarketListener:
    return DhanMarketListener(1, CONFIG, tokens=BOOK)


def wanted(listener: DhanMarketListener, symbols: list[str], mode: FeedMode) -> list[Any]:
    """Want symbols as the base class does; return their wire tokens."""
    return listener._subscribed.want(symbols, mode)[0]


def asked(messages: Any) -> list[tuple[int, int]]:
    """Return request code and number of instruments of each message, which says it right."""
    requests = [json.loads(message) for message in messages]
    assert all(request["InstrumentCount"] == len(request["InstrumentList"]) for request in requests)
    return [(request["RequestCode"], request["InstrumentCount"]) for request in requests]


def test_the_credentials_are_in_the_url_and_nowhere_else(listener: DhanMarketListener) -> None:
    handshake = listener.handshake()
    assert handshake.url.reveal().endswith("?version=2&token=a.b%26c&clientId=1000000001&authType=2")
    assert "a.b" not in repr(handshake)


def test_without_a_token_there_is_nothing_to_try() -> None:
    with pytest.raises(LoginExpired, match="log in"):
        DhanMarketListener(1, BrokerConfig(7, "dhan", "1", ""), tokens=BOOK).handshake()


def test_a_hundred_to_a_message(listener: DhanMarketListener) -> None:
    tokens = wanted(listener, SYMBOLS, FeedMode.FULL)
    assert asked(listener.subscribe_messages(tokens, FeedMode.FULL)) == [(21, 100), (21, 100), (21, 50)]
    assert asked(listener.unsubscribe_messages(tokens)) == [(22, 100), (22, 100), (22, 50)]


def test_ids_are_texts(listener: DhanMarketListener) -> None:
    tokens = wanted(listener, ["NSE:S7", "NSE:NIFTY 50"], FeedMode.LTP)
    (message,) = listener.subscribe_messages(tokens, FeedMode.LTP)
    assert json.loads(message) == {
        "RequestCode": 15,
        "InstrumentCount": 2,
        "InstrumentList": [
            {"ExchangeSegment": "NSE_EQ", "SecurityId": "7"},
            {"ExchangeSegment": "IDX_I", "SecurityId": "13"},
        ],
    }


def test_each_is_taken_out_of_the_mode_it_is_in(listener: DhanMarketListener) -> None:
    armed = wanted(listener, SYMBOLS[:2], FeedMode.FULL)
    watched = wanted(listener, SYMBOLS[2:5], FeedMode.LTP)
    listener.opening_messages({**dict.fromkeys(armed, FeedMode.FULL), **dict.fromkeys(watched, FeedMode.LTP)})
    listener.mode_messages(watched[:1], FeedMode.FULL)
    assert asked(listener.unsubscribe_messages([*armed, *watched])) == [(22, 3), (16, 2)]


def test_armed_ones_are_asked_for_first(listener: DhanMarketListener) -> None:
    watched = wanted(listener, SYMBOLS[:3], FeedMode.LTP)
    armed = wanted(listener, SYMBOLS[3:5], FeedMode.FULL)
    modes = {**dict.fromkeys(watched, FeedMode.LTP), **dict.fromkeys(armed, FeedMode.FULL)}
    assert asked(listener.opening_messages(modes)) == [(21, 2), (15, 3)]
    assert listener.opening_messages({}) == []


def test_the_new_mode_is_there_before_the_old_one_ends(listener: DhanMarketListener) -> None:
    tokens = wanted(listener, SYMBOLS[:1], FeedMode.LTP)
    assert asked(listener.mode_messages(tokens, FeedMode.FULL)) == [(21, 1), (16, 1), (21, 1)]
    assert asked(listener.mode_messages(tokens, FeedMode.LTP)) == [(15, 1), (22, 1), (15, 1)]


def test_prices_are_snapped_to_the_lists_tick(listener: DhanMarketListener) -> None:
    tokens = wanted(listener, SYMBOLS[:1], FeedMode.FULL)
    listener.subscribe_messages(tokens, FeedMode.FULL)
    frame = full(tokens[0], 262_144.05, 1)
    (tick,) = listener.decode(frame, received_at=1.0, symbols=listener._subscribed.symbols)
    assert (tick.symbol, tick.price) == ("NSE:S0", 2_621_440_500_000)


def test_a_token_of_another_form_is_no_instrument(listener: DhanMarketListener) -> None:
    with pytest.raises(UnknownInstrument, match=r"'2885'.*import"):
        wanted(listener, ["NSE:OLD"], FeedMode.LTP)


def test_a_text_is_a_complaint_without_the_token(listener: DhanMarketListener) -> None:
    errors: list[Exception] = []
    listener.register_callback("on_error", errors.append)
    listener.read_text("token a.b&c is bad")
    assert isinstance(errors[0], BrokerRejected)
    assert "is bad" in str(errors[0])
    assert "a.b&c" not in str(errors[0])


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (800, BrokerUnavailable), (804, BrokerRejected), (805, TryLater), (806, BrokerRejected),
        (807, LoginExpired), (808, LoginExpired), (809, LoginExpired), (810, LoginExpired),
        (811, BrokerRejected), (812, BrokerRejected), (813, BrokerRejected), (814, BrokerRejected),
        (0, BrokerUnavailable), (899, BrokerUnavailable),
    ],
)  # fmt: skip
def test_what_a_goodbye_calls_for(reason: int, kind: type[Exception]) -> None:
    error = goodbye(reason)
    assert type(error) is kind
    assert str(reason) in str(error)


@pytest.mark.parametrize(("status", "after_s"), [(429, 60), (401, 15)])
def test_some_refusals_want_patience(listener: DhanMarketListener, status: int, after_s: float) -> None:
    error = listener.refused(HandshakeRefused("host", status))
    assert isinstance(error, TryLater)
    assert error.after_s == after_s


def test_other_refusals_are_trouble_like_any(listener: DhanMarketListener) -> None:
    error = HandshakeRefused("host", 502)
    assert listener.refused(error) is error
