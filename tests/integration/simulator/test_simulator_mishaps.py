"""Each fault as the client meets it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import requests
from kiteconnect import KiteConnect
from kiteconnect import exceptions as kite_errors
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus, WebSocketException

from marketdata.simulator.client import SimulatorError
from marketdata.simulator.control import SimulatorControl
from tests.integration.simulator.conftest import INFY
from tests.support.simulator_feed import Feed
from tests.support.simulator_kite import order, row, settled
from tests.support.stopwatch import took
from tests.support.waiting import eventually

Connect = Callable[[], AbstractContextManager[Feed]]


# --- The feed ---------------------------------------------------------------------------
def test_drop_is_abrupt_and_one_accounts_own(
    feed: Feed, connect_feed: Connect, control: SimulatorControl, account: dict[str, str]
) -> None:
    feed.subscribe("ltp", [INFY])
    assert control.drop("NOBODY") == 0
    assert control.drop(account["client_id"]) == 1
    with pytest.raises(ConnectionClosedError) as caught:
        feed.until(lambda: False)
    assert caught.value.rcvd is None  # no close frame
    with connect_feed() as again:
        again.subscribe("ltp", [INFY])


def test_close_says_why(feed: Feed, control: SimulatorControl, account: dict[str, str]) -> None:
    assert control.close(account["client_id"], code=1000, reason="bye") == 1
    with pytest.raises(ConnectionClosedOK) as caught:
        feed.until(lambda: False)
    assert caught.value.rcvd is not None
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1000, "bye")


def test_silence_sends_nothing_and_ends(
    feed: Feed, control: SimulatorControl, account: dict[str, str]
) -> None:
    feed.subscribe("ltp", [INFY])
    control.fault("silence", account=account["client_id"], seconds=1.5)
    control.set_price("NSE:INFY", "1400.00")
    ponged = feed.ws.ping()
    with pytest.raises(TimeoutError):
        feed.until(lambda: False, timeout=1.2)
    assert not ponged.is_set()
    frames = len(feed.frames)
    feed.until(lambda: len(feed.frames) > frames)  # the heartbeat is back
    assert 1400.0 not in feed.prices(INFY)  # what passed meanwhile is lost
    control.set_price("NSE:INFY", "1500.00")
    feed.until(lambda: feed.prices(INFY)[-1] == 1500.0)


def test_refuse_closes_before_a_byte(connect_feed: Connect, control: SimulatorControl) -> None:
    control.fault("refuse", times=2)
    for _ in range(2):
        with pytest.raises((WebSocketException, OSError)), connect_feed():
            pass
    with connect_feed() as feed:
        feed.subscribe("ltp", [INFY])


def test_refuse_on_the_api(kite: KiteConnect, control: SimulatorControl) -> None:
    control.fault("refuse", operation="api")
    with pytest.raises(requests.ConnectionError):
        kite.profile()
    assert kite.profile()


def test_forbid(connect_feed: Connect, control: SimulatorControl, account: dict[str, str]) -> None:
    control.fault("forbid", account=account["client_id"])
    with pytest.raises(InvalidStatus) as caught, connect_feed():
        pass
    assert caught.value.response.status_code == 403
    with connect_feed():
        pass


def test_a_token_dies_with_its_sockets(
    feed: Feed, connect_feed: Connect, control: SimulatorControl, account: dict[str, str]
) -> None:
    control.kill_token(account["client_id"], drop=True)
    with pytest.raises(ConnectionClosedError):
        feed.until(lambda: False)
    with pytest.raises(InvalidStatus), connect_feed():
        pass


@pytest.mark.parametrize("kind", ["truncated", "unknown", "garbage"])
def test_malformed_frames(feed: Feed, control: SimulatorControl, account: dict[str, str], kind: str) -> None:
    feed.subscribe("ltp", [INFY])
    assert control.malformed(account["client_id"], kind=kind) == 1
    frame = b""
    while len(frame) <= 1:  # heartbeats may come between
        frame = bytes(feed.ws.recv(5, decode=False))
    declared = int.from_bytes(frame[2:4], "big")
    assert declared not in (8, 28, 32, 44, 184) or len(frame) < 4 + declared
    control.set_price("NSE:INFY", "1500.25")
    feed.until(lambda: feed.prices(INFY)[-1] == 1500.25)


def test_an_error_text(feed: Feed, control: SimulatorControl, account: dict[str, str]) -> None:
    control.error_text("Too many things", account["client_id"])
    assert feed.until(feed.errors) == ["Too many things"]


# --- Orders -----------------------------------------------------------------------------
def test_a_lost_reply_books_once(
    kite: KiteConnect, control: SimulatorControl, account: dict[str, str]
) -> None:
    control.fault("lost_reply", account=account["client_id"])
    with pytest.raises(requests.ConnectionError):
        order(kite, tag="LOST1")
    (booked,) = control.ledger(account["client_id"])
    assert (booked["tag"], booked["side"], booked["quantity"]) == ("LOST1", "SELL", 10)
    assert booked["received_at"] == pytest.approx(time.time(), abs=5)
    eventually(lambda: control.ledger(account["client_id"])[0]["fills"])
    assert order(kite, tag="NEXT1")


def test_cut_before_books_nothing(
    kite: KiteConnect, control: SimulatorControl, account: dict[str, str]
) -> None:
    control.fault("cut_before")
    with pytest.raises(requests.ConnectionError):
        order(kite)
    assert control.ledger(account["client_id"]) == []


@pytest.mark.parametrize("booked", [False, True])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, kite_errors.GeneralException), (502, kite_errors.DataException),
        (503, kite_errors.NetworkException), (504, kite_errors.DataException),
    ],
)  # fmt: skip
def test_server_errors_before_and_after_booking(
    kite: KiteConnect,
    control: SimulatorControl,
    account: dict[str, str],
    *,
    status: int,
    error: type[kite_errors.KiteException],
    booked: bool,
) -> None:
    control.fault("server_error", status=status, booked=booked)
    with pytest.raises(error) as caught:
        order(kite)
    assert caught.value.code == status
    assert len(control.ledger(account["client_id"])) == booked


@pytest.mark.parametrize("booked", [False, True])
def test_reject(kite: KiteConnect, control: SimulatorControl, *, booked: bool) -> None:
    control.fault(
        "reject", text="Insufficient funds.", error_type="MarginException", status=403, booked=booked
    )
    with pytest.raises(kite_errors.GeneralException, match=r"Insufficient funds\.") as caught:
        order(kite, tag="REJ1")
    assert caught.value.code == 403
    rows = [(o["status"], o["status_message"], o["tag"]) for o in kite.orders()]
    assert rows == ([("REJECTED", "Insufficient funds.", "REJ1")] if booked else [])


def test_reject_after_ack(kite: KiteConnect, feed: Feed, control: SimulatorControl) -> None:
    control.fault("reject_after_ack", text="RMS:Blocked")
    rejected = settled(kite, order(kite), "REJECTED")
    assert rejected["status_message"] == "RMS:Blocked"
    feed.until(lambda: [o["status"] for o in feed.orders()] == ["REJECTED"])


def test_rest_never_fills_until_released(kite: KiteConnect, control: SimulatorControl) -> None:
    control.fault("rest")
    order_id = order(kite)
    settled(kite, order_id, "OPEN")
    control.play("NSE:INFY", ["1501.00", "1600.00", "1500.00"])
    assert row(kite, order_id)["filled_quantity"] == 0
    control.release(order_id)
    assert row(kite, order_id)["status"] == "COMPLETE"


def test_latency_delays_the_named_operation(kite: KiteConnect, control: SimulatorControl) -> None:
    control.fault("latency", delay_s=1.5, operation="orders")
    assert min(took(kite.positions) for _ in range(3)) < 1.2  # other work of the machine only adds
    assert took(kite.orders) > 1.4


def test_rate_limited_and_web_page(kite: KiteConnect, control: SimulatorControl) -> None:
    control.fault("rate_limited")
    with pytest.raises(kite_errors.NetworkException, match="Too many requests") as caught:
        order(kite)
    assert caught.value.code == 429
    control.fault("html", operation="positions")
    with pytest.raises(kite_errors.DataException, match="text/html"):
        kite.positions()
    assert kite.positions() == {"net": [], "day": []}


def test_limits_when_enforced(kite: KiteConnect, control: SimulatorControl) -> None:
    control.enforce_limits()
    kite.ltp("NSE:INFY")
    with pytest.raises(kite_errors.NetworkException) as caught:
        kite.ltp("NSE:INFY")
    assert caught.value.code == 429
    for _ in range(10):
        kite.orders()
    with pytest.raises(kite_errors.NetworkException):
        kite.orders()
    control.enforce_limits(on=False)
    kite.orders()


# --- The control API itself -------------------------------------------------------------
@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("set_price", {"symbol": "NSE:NOPE", "price": "1"}, "'NSE:NOPE' is not listed"),
        ("set_price", {"symbol": "NSE:INFY", "price": "dear"}, "price 'dear' is not a decimal number"),
        ("set_price", {"symbol": "NSE:INFY", "price": 1500.5}, "price 1500.5 is not a decimal number"),
        ("set_price", {"symbol": "NSE:INFY"}, "missing a required argument: 'price'"),
        (
            "set_price",
            {"symbol": "NSE:INFY", "price": "1", "loud": True},
            "unexpected keyword argument 'loud'",
        ),
        ("set_rate", {"ticks_per_s": -1}, "below zero"),
        ("kill_token", {"client_id": "NOBODY"}, "no account 'NOBODY'"),
        ("fault", {"name": "gremlin"}, "unknown fault 'gremlin'"),
        ("malformed", {"kind": "odd"}, "unknown kind of malformed frame"),
        ("cancel_order", {"order_id": "1"}, "no order '1'"),
        ("dance", {}, "unknown command 'dance'"),
    ],
)
def test_bad_commands_say_what_is_wrong(
    control: SimulatorControl, feed: Feed, command: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(SimulatorError, match=message):
        control.call(command, **arguments)


def test_lists_its_commands_and_faults(control: SimulatorControl) -> None:
    commands = requests.get(control.url, timeout=5).json()
    assert commands["set_price"].startswith("set_price(")
    assert control.faults()["known"]["latency"]["delay_s"] == 1.0


def test_counts(kite: KiteConnect, feed: Feed, control: SimulatorControl, account: dict[str, str]) -> None:
    before = control.counters()
    kite.profile()
    after = control.counters()
    assert after["requests.profile"] == before.get("requests.profile", 0) + 1
    assert after["handshakes.accepted"] >= 1
    assert control.connections()[account["client_id"]] == 1
    assert control.state()["rate"] == 0
