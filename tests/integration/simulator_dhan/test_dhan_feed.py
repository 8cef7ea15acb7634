"""The market feed: every packet is read by the SDK's own parser and compared with the exchange."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus

from marketdata.simulator.control import SimulatorControl
from tests.support.simulator import RunningSimulator
from tests.support.simulator_dhan import INFY, NIFTY, RELIANCE, SBIN, Feed, Security, open_feed
from tests.support.waiting import eventually

Connect = Callable[[], AbstractContextManager[Feed]]


def day(item: dict[str, Any]) -> dict[str, str]:
    """Return the day's range as the SDK writes it."""
    names = {"open": "open", "high": "high", "low": "low", "close": "previous_close"}
    return {theirs: f"{float(item[ours]):.2f}" for theirs, ours in names.items()}


def listed(running: RunningSimulator, start: str, part: str) -> tuple[Security, dict[str, str]]:
    """Return the first instrument of the published list whose line begins so and holds a pattern."""
    head, *lines = requests.get(running.env["DHAN_INSTRUMENTS_URL"], timeout=5).text.splitlines()
    line = next(line for line in lines if line.startswith(start) and re.search(part, line))
    row = dict(zip(head.split(","), line.split(","), strict=True))
    segments = {"NSE,C": "NSE_CURRENCY", "MCX,M": "MCX_COMM", "NSE,D": "NSE_FNO", "BSE,D": "BSE_FNO"}
    return (segments[start], row["SEM_SMST_SECURITY_ID"]), row


def test_ticker(feed: Feed, control: SimulatorControl) -> None:
    feed.subscribe("ticker", INFY)
    before = int(time.time())
    control.set_price("NSE:INFY", "1501.35")
    feed.until(lambda: feed.prices(INFY)[-1] == "1501.35")
    head = struct.unpack("<BHBIfI", feed.parts[-1])
    assert head[:4] == (2, 16, 1, 1594)
    assert before <= head[5] - 19_800 <= time.time()  # India's clock as an epoch
    assert feed.packets[-1]["type"] == "Ticker Data"


def test_first_the_last_known_value_with_its_old_time(feed: Feed) -> None:
    feed.subscribe("ticker", ("NSE_EQ", "11373"))  # BIOCON, which nobody traded yet
    (first,) = feed.packets
    ltt = struct.unpack_from("<I", feed.parts[-1], 12)[0]
    assert first["LTP"] == "412.00"
    assert time.time() - (ltt - 19_800) > 3_600
    assert datetime.fromtimestamp(ltt, UTC).strftime("%H:%M:%S") == first["LTT"] == "15:30:00"


def test_quote(feed: Feed, control: SimulatorControl) -> None:
    feed.subscribe("quote", SBIN)
    control.play("NSE:SBIN", ["975.00", "970.05", "971.15"])
    feed.until(lambda: feed.prices(SBIN)[-1] == "971.15")
    packet, item = feed.packets[-1], control.instrument("NSE:SBIN")
    assert packet["type"] == "Quote Data"
    assert {name: packet[name] for name in ("open", "high", "low", "close")} == day(item)
    assert (packet["volume"], packet["LTQ"]) == (item["volume"], 1)
    assert float(packet["avg_price"]) == pytest.approx(float(item["average"]), abs=0.01)
    assert packet["total_buy_quantity"] > 0 < packet["total_sell_quantity"]


def test_full(feed: Feed, control: SimulatorControl) -> None:
    feed.subscribe("full", INFY)
    control.set_price("NSE:INFY", "1502.35")
    feed.until(lambda: feed.prices(INFY)[-1] == "1502.35")
    packet, item = feed.packets[-1], control.instrument("NSE:INFY")
    assert (packet["type"], len(feed.parts[-1])) == ("Full Data", 162)
    assert {name: packet[name] for name in ("open", "high", "low", "close")} == day(item)
    best = packet["depth"][0]
    assert (best["bid_price"], best["ask_price"]) == (item["bid"], item["ask"])
    assert len(packet["depth"]) == 5
    assert packet["depth"][4]["bid_price"] == "1502.15"


def test_an_index_brings_its_previous_close_and_a_share_does_not(feed: Feed) -> None:
    feed.subscribe("full", INFY, NIFTY)
    feed.until(lambda: [p for p in feed.packets if p["type"] == "Previous Close"])
    closes = [p for p in feed.packets if p["type"] == "Previous Close"]
    assert [(p["exchange_segment"], p["security_id"], p["prev_close"]) for p in closes] == [
        (0, 13, "25900.00")
    ]
    assert feed.packets[1]["depth"][0]["bid_price"] == "0.00"  # nobody deals in an index


def test_the_market_status_comes_once(feed: Feed) -> None:
    feed.subscribe("ticker", INFY)
    feed.subscribe("ticker", SBIN)
    assert [part[0] for part in feed.parts] == [7, 2, 2]


def test_open_interest_comes_with_a_derivatives_quote(feed: Feed, running: RunningSimulator) -> None:
    future, _ = listed(running, "NSE,D", ",FUTIDX,")
    feed.subscribe("quote", future)
    feed.until(lambda: feed.packets[-1]["type"] == "OI Data")
    assert [part[0] for part in feed.parts] == [7, 4, 5]


@pytest.mark.parametrize(
    ("start", "part", "exchange", "price"),
    [
        ("NSE,C", ",FUTCUR,0,USDINR-.*,M,", "CDS", "88.7225"),
        ("MCX,M", ",FUTCOM,0,NATURALGAS-.*,M,", "MCX", "409.7"),
        ("NSE,D", ",FUTIDX,0,NIFTY-.*,M,", "NFO", "26011.3"),
        ("BSE,D", ",FUTIDX,0,SENSEX-.*,M,", "BFO", "84801.7"),
    ],
)
def test_each_segment(
    feed: Feed,
    control: SimulatorControl,
    running: RunningSimulator,
    *,
    start: str,
    part: str,
    exchange: str,
    price: str,
) -> None:
    security, row = listed(running, start, part)
    name, expiry = row["SEM_TRADING_SYMBOL"].split("-")[0], datetime.fromisoformat(row["SEM_EXPIRY_DATE"])
    feed.subscribe("full", security)
    control.set_price(f"{exchange}:{name}{expiry:%y%b}FUT".upper(), price)
    wanted = struct.unpack("<f", struct.pack("<f", float(price)))[0]
    feed.until(lambda: struct.unpack_from("<f", feed.parts[-1], 8)[0] == wanted)
    assert feed.packets[-1]["LTP"] == f"{wanted:.2f}"  # the SDK cuts a currency's last digits


def test_one_id_in_two_segments_is_two_instruments(feed: Feed, running: RunningSimulator) -> None:
    _, row = listed(running, "NSE,C", ",2885,")
    feed.subscribe("ticker", RELIANCE, ("NSE_CURRENCY", "2885"))
    share, currency = feed.prices(RELIANCE), feed.prices(("NSE_CURRENCY", "2885"))
    assert share == ["1480.00"]
    assert float(currency[0]) < 150
    assert "INR" in row["SEM_TRADING_SYMBOL"]


def test_a_scripted_age_and_a_false_print(feed: Feed, control: SimulatorControl) -> None:
    feed.subscribe("full", INFY)
    began = time.time()
    control.set_price("NSE:INFY", "1500.00", age_s=25)
    control.set_price("NSE:INFY", "0")
    feed.until(lambda: feed.prices(INFY)[-1] == "0.00")
    stale, false = (struct.unpack_from("<I", part, 14)[0] - 19_800 for part in feed.parts[-2:])
    assert began - 26 <= stale <= time.time() - 25  # in whole seconds
    assert began - 1 <= false <= time.time()
    assert control.instrument("NSE:INFY")["last"] == "1500.00"


def test_every_scripted_tick_arrives(feed: Feed, control: SimulatorControl) -> None:
    feed.subscribe("ticker", INFY)
    prices = [f"{1500 + n % 100}.00" for n in range(2_000)]
    control.play("NSE:INFY", prices, wait=False)
    feed.until(lambda: len(feed.prices(INFY)) == 2_001, timeout=10)
    assert feed.prices(INFY)[1:] == prices


def test_packets_may_be_stacked_in_a_frame(feed: Feed, control: SimulatorControl) -> None:
    control.set_variant("dhan.packets_per_frame", 50)
    feed.subscribe("full", INFY)
    frames = len(feed.frames)
    control.play("NSE:INFY", [f"{1500 + n}.00" for n in range(60)])
    feed.until(lambda: len(feed.prices(INFY)) == 61)
    assert max(len(frame) for frame in feed.frames) > 162
    assert len(feed.frames) - frames < 60


def test_an_instrument_in_two_modes_sends_both_until_each_ends(
    feed: Feed, control: SimulatorControl, account: dict[str, str]
) -> None:
    feed.subscribe("ticker", INFY)
    feed.send(21, [INFY])
    feed.until(lambda: feed.parts[-1][0] == 8)
    assert control.subscriptions(account["client_id"]) == {"NSE:INFY": "full"}
    control.set_price("NSE:INFY", "1500.50")
    feed.until(lambda: feed.prices(INFY)[-2:] == ["1500.50"] * 2)
    feed.send(16, [INFY])
    feed.send(18, [INFY])  # never subscribed: no harm
    control.set_price("NSE:INFY", "1500.00")
    feed.until(lambda: feed.prices(INFY)[-1] == "1500.00" and feed.parts[-1][0] == 8)
    feed.send(22, [INFY])
    eventually(lambda: control.subscriptions(account["client_id"]) == {})


def test_unknown_ids_and_numbers_for_texts_are_passed_over(
    feed: Feed, control: SimulatorControl, account: dict[str, str]
) -> None:
    feed.send(15, [("NSE_EQ", "999999"), ("NYSE", "1"), INFY])
    named = [{"ExchangeSegment": "NSE_EQ", "SecurityId": 3045}]
    feed.send(15, [SBIN], InstrumentList=named)
    feed.subscribe("ticker", RELIANCE)
    assert control.subscriptions(account["client_id"]).keys() == {"NSE:INFY", "NSE:RELIANCE"}


def test_a_hundred_in_a_message_and_not_one_more(feed: Feed, running: RunningSimulator) -> None:
    lines = requests.get(running.env["DHAN_INSTRUMENTS_URL"], timeout=5).text.splitlines()
    options = [("NSE_FNO", line.split(",")[2]) for line in lines if line.startswith("NSE,D")]
    feed.subscribe("ticker", *options[:100])
    feed.send(15, options[:101])
    with pytest.raises(ConnectionClosed):
        feed.until(lambda: False)
    assert feed.codes == [814]


@pytest.mark.parametrize("text", ["not json", "[]", '{"RequestCode":99}', '{"RequestCode":15}'])
def test_nonsense_ends_the_connection_with_814(feed: Feed, text: str) -> None:
    feed.ws.send(text)
    with pytest.raises(ConnectionClosed):
        feed.until(lambda: False)
    assert feed.codes == [814]


def test_the_sdks_good_bye_is_understood(
    feed: Feed, control: SimulatorControl, account: dict[str, str]
) -> None:
    feed.subscribe("ticker", INFY)
    feed.ws.send('{"RequestCode": 12}')
    feed.ws.send(b"\x0c\x53\x00" + bytes(80))
    eventually(lambda: control.subscriptions(account["client_id"]) == {})
    feed.ws.close()
    eventually(lambda: account["client_id"] not in control.connections())


def test_the_sixth_connection_ends_the_first_with_805(connect_feed: Connect) -> None:
    opened = [connect_feed() for _ in range(6)]
    feeds = [entry.__enter__() for entry in opened]
    try:
        with pytest.raises(ConnectionClosed):
            feeds[0].until(lambda: False)
        assert feeds[0].codes == [805]
        for feed in feeds[1:]:
            feed.subscribe("ticker", INFY)
    finally:
        for entry in opened:
            entry.__exit__(None, None, None)


# --- Tokens -----------------------------------------------------------------------------
def ended(root: str, credentials: dict[str, str], **changes: str) -> list[int]:
    """Connect and return the codes with which it ended."""
    with open_feed(root, credentials, **changes) as feed:
        with pytest.raises(ConnectionClosed):
            feed.until(lambda: False)
        return feed.codes


def test_wrong_credentials_are_told_after_the_handshake(
    running: RunningSimulator, account: dict[str, str]
) -> None:
    assert ended(running.dhan_feed_root, account, token="wrong") == [809]
    assert ended(running.dhan_feed_root, account, clientId="9999999999") == [810]


def test_a_token_that_died_is_807(
    running: RunningSimulator, connect_feed: Connect, account: dict[str, str], control: SimulatorControl
) -> None:
    with connect_feed() as feed:
        control.kill_token(account["client_id"])
        feed.subscribe("ticker", INFY)  # an open socket lives on
    assert ended(running.dhan_feed_root, account) == [807]


def test_a_dead_token_may_be_dropped_without_a_word(
    running: RunningSimulator, account: dict[str, str], control: SimulatorControl
) -> None:
    control.set_variant("dhan.dead_token", "drop")
    with open_feed(running.dhan_feed_root, account, token="wrong") as feed:
        with pytest.raises(ConnectionClosed) as caught:
            feed.until(lambda: False)
        assert caught.value.rcvd is None  # no close frame
        assert feed.frames == []


@pytest.mark.parametrize("status", ["401", "429"])
def test_a_dead_token_may_be_an_http_status(
    running: RunningSimulator, account: dict[str, str], control: SimulatorControl, status: str
) -> None:
    control.set_variant("dhan.dead_token", status)
    with (
        pytest.raises(InvalidStatus) as caught,
        open_feed(running.dhan_feed_root, account, token="wrong"),
    ):
        pass
    assert caught.value.response.status_code == int(status)
    with open_feed(running.dhan_feed_root, account) as feed:
        feed.subscribe("ticker", INFY)


def test_other_versions_of_the_protocol_are_not_spoken(
    running: RunningSimulator, account: dict[str, str]
) -> None:
    with pytest.raises(InvalidStatus) as caught, open_feed(running.dhan_feed_root, account, version="1"):
        pass
    assert caught.value.response.status_code == 400
