"""A listener on a scripted feed: whatever happens, it comes back and asks for everything again."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from marketdata.brokers.zerodha.listener import ZerodhaMarketListener
from marketdata.domain.errors import BrokerRejected, BrokerUnavailable, LoginExpired, UnknownInstrument
from marketdata.domain.feed import ListenerState
from marketdata.domain.orders import OrderSnapshot, OrderStatus
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.instruments import InstrumentBook
from marketdata.ports import BrokerConfig
from marketdata.secret import Secret
from marketdata.transport import TransportOptions
from tests.support.kite_feed import INFY, SBIN, KiteFeed, frame, full, kite_feed, ltp
from tests.support.waiting import eventually_async

DATA = Path(__file__).parents[1] / "data" / "zerodha"
A, B = "NSE:INFY", "NSE:SBIN"
PAISA = Decimal("0.05")
BOOK = InstrumentBook.of(
    "zerodha", [("NSE", "INFY", str(INFY), PAISA, 1, None), ("NSE", "SBIN", str(SBIN), PAISA, 1, None)]
)
TOKEN = "Very-Secret-Token"
SECRET = "Very-Secret-Secret"
CONFIG = BrokerConfig(7, "zerodha", "AB1234", "apikey", Secret(SECRET), Secret(TOKEN))


class AtOnce(random.Random):
    """Delays of nothing, so that tests do not wait."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


class Listener(ZerodhaMarketListener):
    options = TransportOptions(silence_s=1.0, close_timeout_s=0.2, open_timeout_s=2.0)


class Heard:
    """Everything a listener said."""

    def __init__(self, listener: ZerodhaMarketListener) -> None:
        self.ticks: list[Tick] = []
        self.connects = 0
        self.disconnects: list[Exception | None] = []
        self.errors: list[Exception] = []
        self.orders: list[OrderSnapshot] = []
        listener.register_callback("on_ticks", self.ticks.extend)
        listener.register_callback("on_connect", self._connected)
        listener.register_callback("on_disconnect", self.disconnects.append)
        listener.register_callback("on_error", self.errors.append)
        listener.register_callback("on_order_update", self.orders.append)

    def _connected(self) -> None:
        self.connects += 1


@pytest.fixture
async def feed(settings: Settings) -> AsyncIterator[KiteFeed]:
    async with kite_feed() as running:
        roots = {**settings.BROKER_ENDPOINTS["zerodha"], "feed": f"ws://127.0.0.1:{running.port}"}
        settings.BROKER_ENDPOINTS = {"zerodha": roots}
        yield running


@pytest.fixture
async def listener(feed: KiteFeed) -> AsyncIterator[Listener]:
    made = Listener(1, CONFIG, tokens=BOOK, rng=AtOnce())
    yield made
    await made.disconnect()


@pytest.fixture
def heard(listener: Listener) -> Heard:
    return Heard(listener)


def subscribed(mode: str, *tokens: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"a": "subscribe", "v": list(tokens)}, {"a": "mode", "v": [mode, list(tokens)]}


async def test_from_connect_to_exact_ticks(feed: KiteFeed, listener: Listener, heard: Heard) -> None:
    singles: list[tuple[Any, ...]] = []
    listener.register_callback("on_tick", lambda *tick: singles.append(tick))
    await listener.subscribe([A])
    await listener.connect()
    assert listener.is_connected
    await feed.asked(*subscribed("full", INFY))
    packet = base64.b64decode((DATA / "frames" / "ticker_full.packet").read_text())
    await feed.connections[0].send(frame(packet))
    await eventually_async(lambda: singles)
    assert singles == [(A, Decimal("1573.70"), datetime.fromtimestamp(1625461887, UTC))]
    assert heard.ticks[0].is_first
    assert heard.connects == 1
    assert listener.health_check().is_ticking


async def test_the_handshake_is_the_sdks(feed: KiteFeed, listener: Listener) -> None:
    await listener.connect()
    (request,) = feed.requests
    assert request.path == f"/?api_key=apikey&access_token={TOKEN}"
    assert request.headers["X-Kite-Version"] == "3"
    assert request.headers["User-Agent"] == "Kiteconnect-python/5.2.2"


async def test_after_a_drop_everything_wanted_is_asked_for_again(
    feed: KiteFeed, listener: Listener, heard: Heard
) -> None:
    await listener.subscribe([A], FeedMode.FULL)
    await listener.subscribe([B], FeedMode.LTP)
    await listener.connect()
    await feed.asked(*subscribed("full", INFY), *subscribed("ltp", SBIN))
    await feed.connections[0].send(ltp(SBIN, 100))
    await eventually_async(lambda: heard.ticks)
    feed.drop()
    await feed.connected(2)
    await feed.asked(*subscribed("full", INFY), *subscribed("ltp", SBIN))
    await feed.connections[1].send(ltp(SBIN, 105))
    await feed.connections[1].send(ltp(SBIN, 110))
    await eventually_async(lambda: len(heard.ticks) == 3)
    assert [tick.is_first for tick in heard.ticks] == [True, True, False]
    assert heard.connects == 2
    assert [type(error) for error in heard.disconnects] == [BrokerUnavailable]
    assert listener.reconnect_attempts == 0


async def test_what_changed_while_disconnected_is_asked_for(feed: KiteFeed, listener: Listener) -> None:
    await listener.subscribe([A, B], FeedMode.LTP)
    await listener.connect()
    await feed.connected(1)
    await listener.disconnect()
    await listener.unsubscribe([A])
    await listener.subscribe([B], FeedMode.FULL)
    await listener.connect()
    await feed.connected(2)
    await feed.asked(*subscribed("full", SBIN))


async def test_unsubscribed_packets_still_under_way_are_passed_over(
    feed: KiteFeed, listener: Listener, heard: Heard
) -> None:
    await listener.connect()
    await listener.subscribe([A, B], FeedMode.LTP)
    await listener.unsubscribe([A])
    await feed.asked(*subscribed("ltp", INFY, SBIN), {"a": "unsubscribe", "v": [INFY]})
    await feed.connections[0].send(ltp(INFY, 100))
    await feed.connections[0].send(ltp(SBIN, 100))
    await eventually_async(lambda: heard.ticks)
    assert [tick.symbol for tick in heard.ticks] == [B]
    assert listener.subscribed_symbols == {B}


async def test_a_mode_changes_without_a_gap(feed: KiteFeed, listener: Listener) -> None:
    await listener.connect()
    await listener.subscribe([A], FeedMode.LTP)
    await listener.subscribe([A], FeedMode.FULL)
    await listener.subscribe([A], FeedMode.FULL)
    await listener.subscribe([A], FeedMode.LTP)
    to_full, to_ltp = ({"a": "mode", "v": [mode, [INFY]]} for mode in ("full", "ltp"))
    await feed.asked(*subscribed("ltp", INFY), to_full, to_ltp)


async def test_an_unknown_symbol_says_so_and_changes_nothing(listener: Listener) -> None:
    with pytest.raises(UnknownInstrument, match="NSE:NOPE"):
        await listener.subscribe([A, "NSE:NOPE"])
    assert listener.subscribed_symbols == frozenset()


async def test_a_symbol_that_lost_its_token_is_complained_about_and_the_others_carried(
    feed: KiteFeed,
) -> None:
    class Book:
        def __init__(self) -> None:
            self.tokens = {A: str(INFY), B: str(SBIN)}

        def token(self, symbol: str) -> str:
            try:
                return self.tokens[symbol]
            except KeyError:
                raise UnknownInstrument(symbol) from None

        def symbol(self, token: str) -> str | None:
            return None

        def tick_size(self, symbol: str) -> Decimal | None:
            return None

    book = Book()
    listener = Listener(1, CONFIG, tokens=book, rng=AtOnce())
    said = Heard(listener)
    await listener.subscribe([A, B], FeedMode.LTP)
    book.tokens = {B: "999"}
    await listener.connect()
    await feed.asked(*subscribed("ltp", 999))
    assert [type(error) for error in said.errors] == [UnknownInstrument]
    assert A in listener.health_check().last_error
    await listener.disconnect()


async def test_a_dead_token_is_not_tried_again_until_there_is_another(
    feed: KiteFeed, listener: Listener, heard: Heard
) -> None:
    feed.token = "tomorrow"
    await listener.subscribe([A])
    await listener.connect()
    assert listener.health_check().state is ListenerState.LOGIN_NEEDED
    assert [type(error) for error in heard.errors] == [LoginExpired]
    await asyncio.sleep(0.2)
    assert len(feed.requests) == 1
    await listener.use_config(BrokerConfig(7, "zerodha", "AB1234", "apikey", access_token=Secret("tomorrow")))
    assert listener.is_connected
    await feed.asked(*subscribed("full", INFY))


async def test_trouble_at_the_broker_is_tried_again_without_end(
    feed: KiteFeed, listener: Listener, heard: Heard
) -> None:
    feed.status = 502
    await listener.connect()
    assert listener.health_check().state is ListenerState.CONNECTING
    await eventually_async(lambda: len(feed.requests) >= 60)  # the SDK would have given up
    assert listener.reconnect_attempts >= 50
    feed.status = None
    await eventually_async(lambda: listener.is_connected)
    assert listener.reconnect_attempts == 0
    assert listener.health_check().last_error == ""


async def test_silence_is_noticed_and_heartbeats_are_no_silence(
    feed: KiteFeed, listener: Listener, heard: Heard
) -> None:
    await listener.connect()
    first = await feed.connected(1)
    for _ in range(8):
        await first.send(b"\x00")
        await asyncio.sleep(0.2)
    assert heard.disconnects == []
    await feed.connected(2)
    assert "silent for" in str(heard.disconnects[0])


async def test_a_malformed_frame_is_dropped_and_the_socket_kept(
    feed: KiteFeed, listener: Listener, heard: Heard
) -> None:
    await listener.subscribe([A], FeedMode.LTP)
    await listener.connect()
    first = await feed.connected(1)
    for message in (b"\x00\x01\x00\x08abc", "[1, 2]", '{"type": "order", "data": {"order_id": 5}}'):
        await first.send(message)
    await first.send("not even json")
    await first.send(ltp(INFY, 100))
    await eventually_async(lambda: heard.ticks)
    assert listener.health_check().bad_frames == 3
    assert heard.disconnects == []


async def test_more_than_twenty_a_minute_end_the_connection(
    feed: KiteFeed, listener: Listener, heard: Heard
) -> None:
    await listener.connect()
    first = await feed.connected(1)
    for _ in range(21):
        await first.send(b"\x00\x01")
    await feed.connected(2)
    assert "more than 20 malformed" in str(heard.disconnects[0])


async def test_a_callback_that_raises_does_not_drop_the_connection(
    feed: KiteFeed, listener: Listener, heard: Heard
) -> None:
    for event in ("on_tick", "on_ticks", "on_connect"):
        listener.register_callback(event, lambda *_: 1 / 0)
    await listener.subscribe([A], FeedMode.LTP)
    await listener.connect()
    for paise in (100, 105):
        await (await feed.connected(1)).send(ltp(INFY, paise))
    await eventually_async(lambda: len(heard.ticks) == 2)
    assert listener.is_connected
    assert listener.health_check().callback_errors == 5


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown event 'ticks'"):
        Listener(1, CONFIG, tokens=BOOK).register_callback("ticks", print)


async def test_disconnect_is_safe_at_any_time(feed: KiteFeed, listener: Listener, heard: Heard) -> None:
    await listener.disconnect()
    await listener.connect()
    await asyncio.gather(listener.disconnect(), listener.disconnect())
    await listener.disconnect()
    assert heard.disconnects == [None]
    assert listener.health_check().state is ListenerState.STOPPED
    await asyncio.sleep(0.1)
    assert len(feed.requests) == 1


async def test_disconnect_during_a_handshake(feed: KiteFeed, listener: Listener) -> None:
    starting = asyncio.create_task(listener.connect())
    await asyncio.sleep(0)
    await listener.disconnect()
    await asyncio.wait_for(starting, 2)
    assert not listener.is_connected


async def test_reconnect_makes_a_new_connection_at_once(
    feed: KiteFeed, listener: Listener, heard: Heard
) -> None:
    await listener.subscribe([A])
    await listener.connect()
    await listener.reconnect()
    assert listener.is_connected
    assert heard.connects == 2
    await feed.connected(2)
    await feed.asked(*subscribed("full", INFY))


async def test_text_of_the_broker(feed: KiteFeed, listener: Listener, heard: Heard) -> None:
    await listener.connect()
    connection = await feed.connected(1)
    update = json.loads((DATA / "rest" / "postback.json").read_text())
    await connection.send(json.dumps({"type": "order", "data": update}))
    await connection.send(json.dumps({"type": "error", "data": "too many tokens"}))
    await connection.send(json.dumps({"type": "message", "data": "hello"}))
    await eventually_async(lambda: heard.errors)
    assert [(order.symbol, order.status) for order in heard.orders] == [("NSE:SBIN", OrderStatus.FILLED)]
    assert isinstance(heard.errors[0], BrokerRejected)
    assert "too many tokens" in str(heard.errors[0])
    assert listener.is_connected


async def test_no_thread_and_no_reactor_runs(feed: KiteFeed, listener: Listener, heard: Heard) -> None:
    before = set(threading.enumerate())
    await listener.subscribe([A])
    await listener.connect()
    await (await feed.connected(1)).send(full(INFY, 100, 1))
    await eventually_async(lambda: heard.ticks)
    from twisted.internet import reactor

    assert not reactor.running
    started = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [
        name for name in started if not name.startswith("asyncio_")
    ]  # one imported the SDK, and idles


async def test_no_secret_reaches_a_log_an_error_or_the_health(
    feed: KiteFeed, listener: Listener, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("websockets", "kiteconnect"):
        caplog.set_level(logging.DEBUG, name)
    await listener.subscribe([A])
    await listener.connect()
    feed.drop()
    await feed.connected(2)
    await feed.connections[1].send(b"\x00\x01")
    await feed.connections[1].send('{"type": "error", "data": "no"}')
    feed.status = 500
    feed.drop()
    await eventually_async(lambda: len(feed.requests) > 4)
    feed.status = 403
    await eventually_async(lambda: listener.health_check().state is ListenerState.LOGIN_NEEDED)
    shown = (
        caplog.text
        + repr(heard.errors)
        + repr(heard.disconnects)
        + repr(listener.health_check())
        + repr(CONFIG)
    )
    assert "refused the access token" in shown
    assert TOKEN not in shown
    assert SECRET not in shown
