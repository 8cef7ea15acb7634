"""The ticker: every packet is read by the SDK's own parser and compared with the exchange."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kiteconnect import KiteConnect
from websockets.exceptions import InvalidStatus

from marketdata.simulator.control import SimulatorControl
from tests.integration.simulator.conftest import INFY, NIFTY, SBIN
from tests.support.simulator import RunningSimulator, start_simulator
from tests.support.simulator_feed import Feed, open_feed
from tests.support.simulator_kite import MOCKS, order
from tests.support.stopwatch import Stopwatch
from tests.support.waiting import eventually

Connect = Callable[[], AbstractContextManager[Feed]]


def held(control: SimulatorControl, symbol: str) -> dict[str, Any]:
    """Return what the exchange holds, prices as the SDK gives them."""
    found = control.instrument(symbol)
    names = ("last", "open", "high", "low", "previous_close", "average", "bid", "ask")
    return found | {name: float(found[name]) for name in names}


def day(item: dict[str, Any]) -> dict[str, Any]:
    return {name: item[name] for name in ("open", "high", "low")} | {"close": item["previous_close"]}


def token_of(kite: KiteConnect, exchange: str, name: str) -> tuple[int, str]:
    row = next(r for r in kite.instruments(exchange) if r["name"] == name and r["instrument_type"] == "FUT")
    return row["instrument_token"], f"{exchange}:{row['tradingsymbol']}"


def test_first_the_last_known_value_with_its_old_time(feed: Feed) -> None:
    feed.subscribe("full", [11373 * 256 + 1])  # BIOCON, which nobody traded yet
    (first,) = feed.packets
    assert (first["mode"], first["last_price"], first["volume_traded"]) == ("full", 412.0, 0)
    age_s = time.time() - first["exchange_timestamp"].timestamp()
    assert age_s > 3_600


def test_ltp(feed: Feed, control: SimulatorControl) -> None:
    feed.subscribe("ltp", [INFY])
    control.set_price("NSE:INFY", "1501.35")
    feed.until(lambda: feed.prices(INFY)[-1] == 1501.35)
    assert feed.packets[-1] == {
        "tradable": True,
        "mode": "ltp",
        "instrument_token": INFY,
        "last_price": 1501.35,
    }


def test_quote(feed: Feed, control: SimulatorControl) -> None:
    feed.subscribe("quote", [SBIN])
    control.play("NSE:SBIN", ["975.00", "970.05", "971.15"])
    feed.until(lambda: feed.prices(SBIN)[-1] == 971.15)
    packet, item = feed.packets[-1], held(control, "NSE:SBIN")
    assert packet["mode"] == "quote"
    assert packet["ohlc"] == day(item)
    assert packet["volume_traded"] == item["volume"]
    assert packet["average_traded_price"] == pytest.approx(item["average"], abs=0.01)


def test_full(feed: Feed, control: SimulatorControl, kite: KiteConnect) -> None:
    feed.subscribe("full", [INFY])
    before = int(time.time())
    control.set_price("NSE:INFY", "1502.35")
    feed.until(lambda: feed.prices(INFY)[-1] == 1502.35)
    packet, item = feed.packets[-1], held(control, "NSE:INFY")
    assert packet["mode"] == "full"
    assert packet["ohlc"] == day(item)
    assert before <= packet["exchange_timestamp"].timestamp() <= time.time()
    assert packet["last_trade_time"] == packet["exchange_timestamp"]
    assert packet["depth"] == kite.quote("NSE:INFY")["NSE:INFY"]["depth"]
    assert packet["depth"]["buy"][0]["price"] == item["bid"]
    assert packet["depth"]["sell"][0]["price"] == item["ask"]


@pytest.mark.parametrize(("mode", "length"), [("ltp", 8), ("quote", 28), ("full", 32)])
def test_an_index(feed: Feed, control: SimulatorControl, mode: str, length: int) -> None:
    feed.subscribe(mode, [NIFTY])
    control.play("NSE:NIFTY 50", ["25950.10", "25875.65", "25901.45"])
    feed.until(lambda: feed.prices(NIFTY)[-1] == 25901.45)
    packet = feed.packets[-1]
    assert int.from_bytes(feed.frames[-1][2:4], "big") == length
    assert (packet["tradable"], packet["mode"]) == (False, mode)
    assert mode == "ltp" or packet["ohlc"] == day(held(control, "NSE:NIFTY 50"))
    assert isinstance(packet.get("exchange_timestamp"), datetime) is (mode == "full")


@pytest.mark.parametrize(
    ("exchange", "name", "price"),
    [("CDS", "USDINR", "88.7225"), ("MCX", "NATURALGAS", "409.7"), ("NFO", "NIFTY", "26011.3")],
)
def test_each_segments_divisor(
    feed: Feed, control: SimulatorControl, kite: KiteConnect, *, exchange: str, name: str, price: str
) -> None:
    token, symbol = token_of(kite, exchange, name)
    feed.subscribe("full", [token])
    control.set_price(symbol, price)
    feed.until(lambda: feed.prices(token)[-1] == float(price))
    packet = feed.packets[-1]
    assert packet["ohlc"] == day(held(control, symbol))
    assert packet["depth"]["buy"][0]["price"] == float(price)


def test_a_scripted_age_and_a_false_print(feed: Feed, control: SimulatorControl) -> None:
    feed.subscribe("full", [INFY])
    began = time.time()
    control.set_price("NSE:INFY", "1500.00", age_s=25)
    control.set_price("NSE:INFY", "0")
    feed.until(lambda: feed.prices(INFY)[-1] == 0)
    stale, false = feed.packets[-2:]
    assert began - 26 <= stale["exchange_timestamp"].timestamp() <= time.time() - 25  # in whole seconds
    assert began - 1 <= false["exchange_timestamp"].timestamp() <= time.time()
    assert control.instrument("NSE:INFY")["last"] == "1500.00"


def test_every_scripted_tick_arrives_several_in_a_frame(feed: Feed, control: SimulatorControl) -> None:
    feed.subscribe("ltp", [INFY])
    prices = [f"{1500 + n % 100}.00" for n in range(10_000)]
    before = len(feed.frames)
    control.play("NSE:INFY", prices, wait=False)
    feed.until(lambda: len(feed.prices(INFY)) == 10_001, timeout=10)
    assert feed.prices(INFY)[1:] == [float(price) for price in prices]
    assert len(feed.frames) - before < 500


def test_modes_change_and_subscriptions_end(
    feed: Feed, control: SimulatorControl, account: dict[str, str]
) -> None:
    feed.subscribe("ltp", [INFY, SBIN])
    feed.send("mode", ["full", [INFY]])
    feed.until(lambda: feed.packets[-1]["mode"] == "full")  # richer: sent at once
    assert control.subscriptions(account["client_id"]) == {"NSE:INFY": "full", "NSE:SBIN": "ltp"}
    feed.send("unsubscribe", [SBIN])
    eventually(lambda: control.subscriptions(account["client_id"]) == {"NSE:INFY": "full"})
    count = len(feed.prices(SBIN))
    control.set_price("NSE:SBIN", "980.00")
    control.set_price("NSE:INFY", "1500.50")
    feed.until(lambda: feed.prices(INFY)[-1] == 1500.5)
    assert len(feed.prices(SBIN)) == count


def test_a_subscription_ends_with_its_connection(
    connect_feed: Connect, control: SimulatorControl, account: dict[str, str]
) -> None:
    with connect_feed() as feed:
        feed.subscribe("ltp", [INFY])
    eventually(lambda: control.subscriptions(account["client_id"]) == {})
    with connect_feed() as feed:
        control.set_price("NSE:INFY", "1500.00")
        feed.until(lambda: len(feed.frames) == 1)  # the heartbeat, and nothing before it
        assert feed.frames == [b"\x00"]


def test_duplicates_are_harmless_and_unknown_tokens_ignored(feed: Feed) -> None:
    feed.send("subscribe", [INFY, 1])
    feed.send("subscribe", [INFY])
    feed.until(lambda: len(feed.frames) == 2)
    assert [p["instrument_token"] for p in feed.packets] == [INFY]


def test_more_than_3000_are_refused_in_words(tmp_path: Path) -> None:
    with (
        start_simulator(tmp_path, instruments=3_100) as simulator,
        open_feed(simulator.feed_root, simulator.demo) as feed,
    ):
        rows = KiteConnect(simulator.demo["api_key"], root=simulator.api_root).instruments()
        tokens = [row["instrument_token"] for row in rows]
        feed.subscribe("ltp", tokens[:3_000])
        feed.send("subscribe", tokens[3_000:3_001])
        assert feed.until(feed.errors) == ["Maximum of 3000 instruments can be subscribed on one connection."]
        simulator.control.set_price("NSE:INFY", "1499.00")
        feed.until(lambda: feed.prices(INFY)[-1] == 1499.0)


@pytest.mark.parametrize("text", ["not json", "[]", '{"a":"dance","v":[]}', '{"a":"mode","v":["loud",[1]]}'])
def test_nonsense_is_answered_in_words(feed: Feed, text: str) -> None:
    feed.ws.send(text)
    assert "Invalid message" in feed.until(feed.errors)[0]
    feed.subscribe("ltp", [INFY])


def test_a_heartbeat_each_second(feed: Feed, running: RunningSimulator) -> None:
    watch, started = Stopwatch(running.pid), time.monotonic()
    feed.until(lambda: feed.frames.count(b"\x00") >= 3)
    assert time.monotonic() - started > 1
    assert watch.seconds() < 4


async def test_no_pong_unasked_and_one_when_asked(running: RunningSimulator, account: dict[str, str]) -> None:
    params = {"api_key": account["api_key"], "access_token": account["access_token"]}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(running.feed_root, params=params, autoping=False) as ws,
    ):
        kinds = [(await ws.receive()).type for _ in range(2)]  # the greeting, a heartbeat
        assert kinds == [aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY]
        await ws.ping(b"there?")
        pong = await ws.receive()
        assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"there?")


@pytest.mark.parametrize(
    "credentials", [{"api_key": "wrong"}, {"access_token": "wrong"}, {"access_token": ""}]
)
def test_a_wrong_token_is_a_403(
    running: RunningSimulator, account: dict[str, str], credentials: dict[str, str]
) -> None:
    with pytest.raises(InvalidStatus) as caught, open_feed(running.feed_root, account | credentials):
        pass
    assert caught.value.response.status_code == 403


def test_orders_of_the_account_come_on_every_socket(
    feed: Feed, connect_feed: Connect, kite: KiteConnect, control: SimulatorControl, account: dict[str, str]
) -> None:
    with connect_feed() as second:
        feed.subscribe("ltp", [INFY])
        second.subscribe("ltp", [INFY])
        ours = order(kite, tag="OURS")
        foreign = control.place_order(account["client_id"], "NSE:SBIN", "BUY", 5, "MIS")
        for socket in (feed, second):
            wait_for_fills(socket, 2)
            assert {o["order_id"] for o in socket.orders()} == {ours, foreign}
    update = next(o for o in feed.orders() if o["order_id"] == ours and o["status"] == "COMPLETE")
    assert update.keys() >= mock_postback()
    assert (update["tag"], update["user_id"], update["filled_quantity"]) == ("OURS", account["client_id"], 10)


def wait_for_fills(socket: Feed, count: int) -> None:
    socket.until(lambda: [o["status"] for o in socket.orders()].count("COMPLETE") == count)


def mock_postback() -> set[str]:
    return set(json.loads((MOCKS / "postback.json").read_text()))


def test_a_modification_is_an_update(feed: Feed, kite: KiteConnect, control: SimulatorControl) -> None:
    control.set_price("NSE:HCLTECH", "1610.00")
    limit = order(kite, tradingsymbol="HCLTECH", order_type="LIMIT", price=1650, market_protection=None)
    feed.until(lambda: [o["status"] for o in feed.orders()] == ["OPEN"])
    kite.modify_order("regular", limit, price=1660)
    kite.cancel_order("regular", limit)
    feed.until(lambda: [o["status"] for o in feed.orders()] == ["OPEN", "UPDATE", "CANCELLED"])
