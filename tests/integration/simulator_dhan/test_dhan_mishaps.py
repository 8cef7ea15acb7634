"""Each fault as the client meets it, and the order updates."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests
from dhanhq import dhanhq
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidStatus,
    WebSocketException,
)
from websockets.sync.client import ClientConnection

from marketdata.simulator.control import SimulatorControl
from tests.support.simulator import RunningSimulator
from tests.support.simulator_dhan import INFY, Feed, open_orders, order, placed, row, settled
from tests.support.simulator_feed import open_feed as open_kite_feed
from tests.support.stopwatch import took
from tests.support.waiting import eventually

Connect = Callable[[], AbstractContextManager[Feed]]
SAMPLES = Path(__file__).resolve().parents[2] / "data" / "dhan" / "order_feed"


# --- The feed ---------------------------------------------------------------------------
def test_drop_is_abrupt_and_one_brokers_own(
    feed: Feed, connect_feed: Connect, control: SimulatorControl, account: dict[str, str]
) -> None:
    feed.subscribe("ticker", INFY)
    assert control.drop(account["client_id"], broker="zerodha") == 0
    assert control.drop(account["client_id"], broker="dhan") == 1
    with pytest.raises(ConnectionClosedError) as caught:
        feed.until(lambda: False)
    assert caught.value.rcvd is None  # no close frame
    with connect_feed() as again:
        again.subscribe("ticker", INFY)


@pytest.mark.parametrize("code", [800, 805, 806, 807, 808, 809, 814])
def test_a_disconnect_packet_then_a_close(
    feed: Feed, control: SimulatorControl, account: dict[str, str], code: int
) -> None:
    feed.subscribe("ticker", INFY)
    assert control.close(account["client_id"], code=code) == 1
    with pytest.raises(ConnectionClosedOK):
        feed.until(lambda: False)
    assert feed.codes == [code]
    assert len(feed.frames[-1]) == 10


def test_a_plain_close(feed: Feed, control: SimulatorControl, account: dict[str, str]) -> None:
    assert control.close(account["client_id"], code=1001, reason="bye") == 1
    with pytest.raises(ConnectionClosed) as caught:
        feed.until(lambda: False)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason, feed.codes) == (1001, "bye", [])


def test_silence_sends_nothing_and_ends(
    feed: Feed, control: SimulatorControl, account: dict[str, str]
) -> None:
    feed.subscribe("ticker", INFY)
    control.fault("silence", account=account["client_id"], broker="dhan", times=1)
    control.set_price("NSE:INFY", "1400.00")
    ponged = feed.ws.ping()
    with pytest.raises(TimeoutError):
        feed.until(lambda: False, timeout=0.5)
    assert not ponged.is_set()
    control.clear_faults()
    control.set_price("NSE:INFY", "1500.00")
    feed.until(lambda: feed.prices(INFY)[-1] == "1500.00")
    assert "1400.00" not in feed.prices(INFY)  # what passed meanwhile is lost


def test_refuse_strikes_the_broker_it_names(
    connect_feed: Connect, control: SimulatorControl, running: RunningSimulator
) -> None:
    control.fault("refuse", broker="dhan")
    with open_kite_feed(running.feed_root, running.demo):
        pass
    with pytest.raises((WebSocketException, OSError)), connect_feed():
        pass
    with connect_feed() as feed:
        feed.subscribe("ticker", INFY)


def test_refuse_on_the_api(dhan: dhanhq, control: SimulatorControl) -> None:
    control.fault("refuse", operation="api", broker="dhan")
    answer = dhan.get_order_list()
    assert (answer["status"], answer["data"]) == ("failure", "")
    assert dhan.get_order_list()["status"] == "success"


@pytest.mark.parametrize("status", [401, 403, 429])
def test_forbid(
    connect_feed: Connect, control: SimulatorControl, account: dict[str, str], status: int
) -> None:
    control.fault("forbid", account=account["client_id"], status=status)
    with pytest.raises(InvalidStatus) as caught, connect_feed():
        pass
    assert caught.value.response.status_code == status
    with connect_feed():
        pass


@pytest.mark.parametrize(("code", "codes"), [(0, []), (806, [806])])
def test_turned_away_behind_the_door(
    connect_feed: Connect, control: SimulatorControl, account: dict[str, str], *, code: int, codes: list[int]
) -> None:
    before = control.counters()
    control.fault("turn_away", account=account["client_id"], code=code)
    with connect_feed() as feed:
        with pytest.raises(ConnectionClosed) as caught:
            feed.until(lambda: False)
        assert feed.codes == codes
        assert (caught.value.rcvd is None) is (code == 0)
    with connect_feed() as feed:
        feed.subscribe("ticker", INFY)
    after = control.counters()
    counted = [after[name] - before.get(name, 0) for name in ("handshakes.refused", "handshakes.accepted")]
    assert counted == [1, 1]


@pytest.mark.parametrize("kind", ["truncated", "unknown", "garbage"])
def test_malformed_frames(feed: Feed, control: SimulatorControl, account: dict[str, str], kind: str) -> None:
    feed.subscribe("ticker", INFY)
    assert control.malformed(account["client_id"], kind=kind) == 1
    frame = bytes(feed.ws.recv(5, decode=False))
    told = struct.unpack_from("<H", frame, 1)[0]
    assert told != len(frame) or frame[0] not in (2, 4, 5, 6, 7, 8, 50)
    control.set_price("NSE:INFY", "1500.25")
    feed.until(lambda: feed.prices(INFY)[-1] == "1500.25")


def test_a_text_frame(feed: Feed, control: SimulatorControl, account: dict[str, str]) -> None:
    control.error_text("Too many things", account["client_id"])
    assert "Too many things" in feed.until(lambda: feed.texts)[0]


# --- Orders -----------------------------------------------------------------------------
def test_a_lost_reply_books_once(dhan: dhanhq, control: SimulatorControl, account: dict[str, str]) -> None:
    control.fault("lost_reply", account=account["client_id"])
    answer = placed(dhan, tag="LOST1")
    assert (answer["status"], answer["data"]) == ("failure", "")  # all that the SDK says
    (booked,) = control.ledger(account["client_id"])
    assert (booked["tag"], booked["side"], booked["quantity"]) == ("LOST1", "SELL", 10)
    assert booked["received_at"] == pytest.approx(time.time(), abs=5)
    assert dhan.get_order_by_correlationID("LOST1")["data"]["orderId"] == booked["order_id"]


def test_cut_before_books_nothing(dhan: dhanhq, control: SimulatorControl, account: dict[str, str]) -> None:
    control.fault("cut_before")
    assert placed(dhan)["status"] == "failure"
    assert control.ledger(account["client_id"]) == []


@pytest.mark.parametrize("booked", [False, True])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_server_errors_before_and_after_booking(
    dhan: dhanhq, control: SimulatorControl, account: dict[str, str], *, status: int, booked: bool
) -> None:
    control.fault("server_error", status=status, booked=booked, broker="dhan")
    assert placed(dhan)["remarks"]["error_code"] == ("DH-908" if status == 500 else "DH-909")
    assert len(control.ledger(account["client_id"])) == booked


@pytest.mark.parametrize("booked", [False, True])
@pytest.mark.parametrize(("kind", "code"), [("DH-911", "DH-911"), ("OrderException", "DH-906")])
def test_reject(dhan: dhanhq, control: SimulatorControl, *, kind: str, code: str, booked: bool) -> None:
    control.fault("reject", text="Invalid IP", error_type=kind, booked=booked)
    remarks = placed(dhan, tag="REJ1")["remarks"]
    assert (remarks["error_code"], remarks["error_message"]) == (code, "Invalid IP")
    rows = [(o["orderStatus"], o["omsErrorDescription"]) for o in dhan.get_order_list()["data"]]
    assert rows == ([("REJECTED", "Invalid IP")] if booked else [])


def test_reject_after_ack(dhan: dhanhq, control: SimulatorControl) -> None:
    control.fault("reject_after_ack", text="RMS:Blocked")
    assert settled(dhan, order(dhan), "REJECTED")["omsErrorDescription"] == "RMS:Blocked"


def test_rest_never_fills_until_released(dhan: dhanhq, control: SimulatorControl) -> None:
    control.fault("rest")
    order_id = order(dhan)
    settled(dhan, order_id, "PENDING")
    control.play("NSE:INFY", ["1501.00", "1600.00", "1500.00"])
    assert row(dhan, order_id)["filledQty"] == 0
    control.release(order_id)
    assert row(dhan, order_id)["orderStatus"] == "TRADED"


def test_latency_delays_the_named_operation(dhan: dhanhq, control: SimulatorControl) -> None:
    control.fault("latency", delay_s=1.5, operation="orders", broker="dhan")
    assert min(took(dhan.get_positions) for _ in range(3)) < 1.2  # other work of the machine only adds
    assert took(dhan.get_order_list) > 1.4


def test_rate_limited_and_web_page(dhan: dhanhq, control: SimulatorControl) -> None:
    control.fault("rate_limited")
    assert placed(dhan)["remarks"]["error_code"] == "DH-904"
    control.fault("html", operation="positions")
    assert "Expecting value" in dhan.get_positions()["remarks"]
    assert dhan.get_positions()["data"] == []


def test_documented_rates(dhan: dhanhq, control: SimulatorControl) -> None:
    control.enforce_limits()
    answers = [placed(dhan, quantity=0)["remarks"]["error_code"] for _ in range(11)]
    assert answers == ["DH-905"] * 10 + ["DH-904"]
    wanted = {"NSE_EQ": [1594]}
    assert dhan.ticker_data(wanted)["status"] == "success"
    assert dhan.ticker_data(wanted)["remarks"]["error_code"] == "DH-904"


# --- Order updates ----------------------------------------------------------------------
@pytest.fixture
def updates(
    running: RunningSimulator, account: dict[str, str], control: SimulatorControl
) -> Iterator[ClientConnection]:
    with open_orders(running.env["DHAN_ORDER_FEED_ROOT"], account) as ws:
        eventually(lambda: control.connections(role="order_feed").get(account["client_id"]))
        yield ws


def alert(ws: ClientConnection) -> dict[str, Any]:
    message = json.loads(ws.recv(5))
    assert message["Type"] == "order_alert"
    return dict(message["Data"])


@pytest.mark.parametrize(("keys", "sample"), [("camel", "camel_case"), ("pascal", "documented")])
def test_an_orders_news_in_both_spellings(
    updates: ClientConnection, dhan: dhanhq, control: SimulatorControl, *, keys: str, sample: str
) -> None:
    control.set_variant("dhan.alert_keys", keys)
    order_id = order(dhan, tag="OURS")
    first, last = alert(updates), alert(updates)
    assert first.keys() == last.keys() == json.loads((SAMPLES / f"{sample}.json").read_text())["Data"].keys()
    found = {key.lower(): value for key, value in last.items()}
    assert (found["orderno"], found["correlationid"], found["status"]) == (order_id, "OURS", "Traded")
    assert (found["txntype"], found["tradedqty"], found["product"]) == ("S", 10, "I")


def test_orders_from_elsewhere_are_news_too(
    updates: ClientConnection, control: SimulatorControl, account: dict[str, str]
) -> None:
    foreign = control.place_order(account["client_id"], "NSE:SBIN", "BUY", 5, "CNC")
    assert alert(updates)["orderNo"] == foreign


def test_a_wrong_login_ends_the_socket(running: RunningSimulator, account: dict[str, str]) -> None:
    wrong = account | {"access_token": "wrong"}
    with open_orders(running.env["DHAN_ORDER_FEED_ROOT"], wrong) as ws, pytest.raises(ConnectionClosed):
        ws.recv(5)


def test_the_order_socket_can_be_lost_alone(
    updates: ClientConnection,
    feed: Feed,
    control: SimulatorControl,
    account: dict[str, str],
    running: RunningSimulator,
) -> None:
    assert control.drop(account["client_id"], role="order_feed") == 1
    with pytest.raises(ConnectionClosed):
        updates.recv(5)
    feed.subscribe("ticker", INFY)
    answer = requests.post(f"{running.control.url}/drop", json={"role": "nothing"}, timeout=5)
    assert "no sockets of role 'nothing'" in answer.json()["error"]


def test_silence_on_the_order_socket_leaves_the_feed_alone(
    updates: ClientConnection, feed: Feed, dhan: dhanhq, control: SimulatorControl, account: dict[str, str]
) -> None:
    control.fault("silence", account=account["client_id"], operation="order_feed", seconds=30)
    settled(dhan, order(dhan))
    with pytest.raises(TimeoutError):
        updates.recv(0.3)
    feed.subscribe("ticker", INFY)


def test_unknown_variants_are_refused(control: SimulatorControl) -> None:
    with pytest.raises(Exception, match=r"no variant 'dhan\.nothing'"):
        control.set_variant("dhan.nothing", 1)
    with pytest.raises(Exception, match=r"is like 1, not 'two'"):
        control.set_variant("dhan.packets_per_frame", "two")
