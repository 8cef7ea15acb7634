"""What we take from inside kiteconnect: a new version must pass here before it is pinned."""

from __future__ import annotations

import json
from importlib.metadata import version

import kiteconnect.ticker
import pytest
from kiteconnect import KiteTicker

from marketdata.brokers.zerodha.ticker import Outbox, Protocol

URL = "ws://127.0.0.1:1"


@pytest.fixture
def protocol() -> Protocol:
    return Protocol("key", "token", URL, on_order=lambda _: None, on_complaint=lambda _: None)


def asked(messages: list[str]) -> list[object]:
    return [json.loads(message) for message in messages]


def test_the_version_is_the_one_that_was_checked() -> None:
    assert version("kiteconnect") == "5.2.2"


def test_the_url_is_the_sdks(protocol: Protocol) -> None:
    assert protocol.socket_url == f"{URL}?api_key=key&access_token=token"
    assert protocol.user_agent == "Kiteconnect-python/5.2.2"


def test_opening_asks_for_each_mode_at_once(protocol: Protocol) -> None:
    assert asked(protocol.opened({1: "full", 2: "ltp", 3: "full"})) == [
        {"a": "subscribe", "v": [1, 3]},
        {"a": "mode", "v": ["full", [1, 3]]},
        {"a": "subscribe", "v": [2]},
        {"a": "mode", "v": ["ltp", [2]]},
    ]
    assert protocol.is_connected()


def test_opening_with_nothing_asks_nothing(protocol: Protocol) -> None:
    assert protocol.opened({}) == []


def test_the_sdk_keeps_the_modes(protocol: Protocol) -> None:
    protocol.opened({})
    protocol.subscribe([1, 2])
    protocol.set_mode("full", [1])
    protocol.unsubscribe([2])
    assert protocol.subscribed_tokens == {1: "full"}
    assert len(protocol.outbox.take()) == 3
    assert protocol.outbox.take() == []


def test_a_close_by_the_sdk_sends_nothing() -> None:
    outbox = Outbox()
    outbox.sendClose(1000, "bye")
    assert outbox.take() == []


def test_text_goes_where_it_belongs() -> None:
    orders: list[object] = []
    complaints: list[str] = []
    protocol = Protocol("key", "token", URL, on_order=orders.append, on_complaint=complaints.append)
    protocol.opened({})
    protocol.text('{"type": "order", "data": {"order_id": "1"}}')
    protocol.text('{"type": "error", "data": "no"}')
    protocol.text('{"type": "message", "data": "hello"}')
    protocol.text('{"type": "instruments_meta", "data": {"count": 1}}')
    protocol.text("not json")
    assert orders == [{"order_id": "1"}]
    assert complaints == ["no"]


def test_text_that_is_no_object_raises_what_the_listener_expects(protocol: Protocol) -> None:
    protocol.opened({})
    with pytest.raises(AttributeError):
        protocol.text("[1]")


def test_the_private_names_are_still_there() -> None:
    for name in (
        "_on_open",
        "_on_connect",
        "_on_message",
        "_parse_text_message",
        "_user_agent",
        "_is_first_connect",
    ):
        assert hasattr(KiteTicker, name)


def test_nothing_runs_the_reactor(protocol: Protocol) -> None:
    protocol.opened({1: "full"})
    assert not kiteconnect.ticker.reactor.running
