"""The unmodified SDK against the simulator's HTTP API."""

from __future__ import annotations

import socket
import time
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from kiteconnect import KiteConnect
from kiteconnect import exceptions as kite_errors

from marketdata.simulator.control import SimulatorControl
from tests.integration.simulator.conftest import INFY
from tests.support.simulator import RunningSimulator
from tests.support.simulator_kite import mock, order, row, settled


def test_a_visit_lasts_from_the_first_byte_of_the_request_to_the_last_of_the_answer(
    running: RunningSimulator, account: dict[str, str], control: SimulatorControl
) -> None:
    place = urlsplit(running.api_root)
    token = f"token {account['api_key']}:{account['access_token']}"
    control.fault("latency", account=account["client_id"], operation="orders", delay_s=0.05)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=5) as connection:
        for _ in range(2):  # on a kept connection each request has its own
            began = time.time()
            connection.sendall(b"GET /orders HTTP/1.1\r\n")
            control.visits(account["client_id"])
            begun = time.time()
            connection.sendall(f"Host: here\r\nAuthorization: {token}\r\n\r\n".encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            visit = control.visits(account["client_id"])[-1]
            assert began <= visit["at"] <= begun <= visit["until"]
    first, second = control.visits(account["client_id"])
    assert first["until"] - first["at"] >= 0.05
    assert second["operation"] == "orders"


# --- Session ----------------------------------------------------------------------------
def test_login_to_session(running: RunningSimulator, control: SimulatorControl) -> None:
    there = control.create_account("LOGIN1", redirect_url="http://127.0.0.1:1/callback?x=1")
    login = requests.get(
        running.env["KITE_LOGIN_ROOT"],
        params={"v": "3", "api_key": there["api_key"]},
        allow_redirects=False,
        timeout=5,
    )
    query = parse_qs(urlsplit(login.headers["Location"]).query)
    assert (login.status_code, query["status"], query["x"]) == (302, ["success"], ["1"])
    kite = KiteConnect(there["api_key"], root=running.api_root)
    session = kite.generate_session(query["request_token"][0], there["api_secret"])
    assert session.keys() >= mock("generate_session").keys() - {"meta"}
    assert session["user_id"] == kite.profile()["user_id"] == "LOGIN1"
    assert isinstance(session["login_time"], datetime)
    with pytest.raises(kite_errors.TokenException):  # single use
        kite.generate_session(query["request_token"][0], there["api_secret"])


def test_a_wrong_checksum_opens_nothing(running: RunningSimulator, control: SimulatorControl) -> None:
    there = control.create_account("LOGIN2")
    login = requests.get(
        running.env["KITE_LOGIN_ROOT"], params={"api_key": there["api_key"]}, allow_redirects=False, timeout=5
    )
    token = parse_qs(urlsplit(login.headers["Location"]).query)["request_token"][0]
    with pytest.raises(kite_errors.TokenException, match="checksum"):
        KiteConnect(there["api_key"], root=running.api_root).generate_session(token, "wrong")


@pytest.mark.parametrize("how", ["killed", "replaced", "logged out", "wrong"])
def test_a_dead_token(
    kite: KiteConnect, account: dict[str, str], control: SimulatorControl, how: str
) -> None:
    match how:
        case "killed":
            control.kill_token(account["client_id"])
        case "replaced":
            control.mint_token(account["client_id"])
        case "logged out":
            assert kite.invalidate_access_token() is True
        case _:
            kite.set_access_token("wrong")
    with pytest.raises(kite_errors.TokenException) as caught:
        kite.profile()
    assert caught.value.code == 403


def test_profile(kite: KiteConnect, account: dict[str, str]) -> None:
    profile = kite.profile()
    assert profile["user_id"] == account["client_id"]
    assert profile.keys() >= mock("profile").keys()


# --- Instruments ------------------------------------------------------------------------
def test_instruments(kite: KiteConnect, running: RunningSimulator) -> None:
    rows = kite.instruments()
    assert len(rows) == 3_000
    assert {row["exchange"] for row in rows} == {"NSE", "BSE", "NFO", "BFO", "CDS", "MCX"}
    by_token = {row["instrument_token"]: row for row in rows}
    assert len(by_token) == 3_000
    assert by_token[INFY] == {
        "instrument_token": INFY, "exchange_token": "1594", "tradingsymbol": "INFY", "name": "INFOSYS",
        "last_price": 0.0, "expiry": "", "strike": 0.0, "tick_size": 0.05, "lot_size": 1,
        "instrument_type": "EQ", "segment": "NSE", "exchange": "NSE",
    }  # fmt: skip
    assert (by_token[256265]["tradingsymbol"], by_token[256265]["segment"]) == ("NIFTY 50", "INDICES")
    assert {row["segment"] for row in kite.instruments("MCX")} == {"MCX-FUT", "MCX-OPT"}
    answer = requests.get(f"{running.api_root}/instruments", timeout=5)
    assert (answer.headers["Content-Encoding"], answer.headers["Content-Type"]) == ("gzip", "text/csv")
    with pytest.raises(kite_errors.InputException):
        kite.instruments("NYSE")


# --- Orders -----------------------------------------------------------------------------
def test_a_market_exit(kite: KiteConnect, account: dict[str, str], control: SimulatorControl) -> None:
    control.set_position(account["client_id"], "NSE:INFY", "MIS", 10, "1490")
    control.set_price("NSE:INFY", "1499.95")
    order_id = order(kite, tag="TG0001")
    filled = settled(kite, order_id)
    assert filled.keys() >= mock("orders")[0].keys()
    assert (filled["filled_quantity"], filled["pending_quantity"], filled["average_price"]) == (
        10,
        0,
        1499.95,
    )
    assert (filled["tag"], filled["tags"], filled["market_protection"]) == ("TG0001", ["TG0001"], -1)
    states = [state["status"] for state in kite.order_history(order_id)]
    assert states == ["PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING", "OPEN", "COMPLETE"]
    (trade,) = kite.order_trades(order_id)
    assert trade == kite.trades()[0]
    assert trade.keys() >= mock("trades")[0].keys()
    (position,) = kite.positions()["net"]
    assert position.keys() >= mock("positions")["net"][0].keys()
    assert (position["quantity"], position["pnl"]) == (0, 99.5)


def test_accepted_is_not_filled(kite: KiteConnect, control: SimulatorControl) -> None:
    control.set_matching_delay(0.3)
    order_id = order(kite)
    assert row(kite, order_id)["status"] == "PUT ORDER REQ RECEIVED"
    assert settled(kite, order_id)["filled_quantity"] == 10


@pytest.mark.parametrize("protection", [None, 0])
@pytest.mark.parametrize("kind", ["MARKET", "SL-M"])
def test_unprotected_market_orders_are_refused(kite: KiteConnect, kind: str, protection: int | None) -> None:
    with pytest.raises(kite_errors.InputException, match="Market orders without market protection") as caught:
        order(kite, order_type=kind, market_protection=protection, trigger_price=1400)
    assert caught.value.code == 400
    assert kite.orders() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tradingsymbol": "NOPE"}, "expired or does not exist"),
        ({"tradingsymbol": "NIFTY 50"}, "expired or does not exist"),
        ({"quantity": 0}, "Invalid `quantity`"),
        ({"quantity": 1.5}, "Invalid `quantity`"),
        (
            {"exchange": "MCX", "tradingsymbol": "", "product": "NRML"},
            "Missing or empty field `tradingsymbol`",
        ),
        ({"transaction_type": "HOLD"}, "Invalid `transaction_type`"),
        ({"order_type": "FANCY"}, "Invalid `order_type`"),
        ({"product": "NRML"}, "Invalid `product`"),
        ({"order_type": "LIMIT"}, "Missing or empty field `price`"),
        ({"order_type": "LIMIT", "price": -1}, "Invalid `price`"),
        ({"order_type": "LIMIT", "price": 10}, "lower circuit limit"),
        ({"order_type": "LIMIT", "price": 9000}, "upper circuit limit"),
        ({"market_protection": 101}, "Invalid `market_protection`"),
        ({"tag": "A" * 21}, "Invalid `tag`"),
        ({"tag": "with-dash"}, "Invalid `tag`"),
        ({"validity": "GTC"}, "Invalid `validity`"),
        ({"variety": "co"}, "Invalid `variety`"),
    ],
)
def test_bad_orders_are_refused(kite: KiteConnect, changes: dict[str, object], message: str) -> None:
    with pytest.raises(kite_errors.InputException, match=message):
        order(kite, **changes)
    assert kite.orders() == []


def test_lots(kite: KiteConnect) -> None:
    future = next(
        r for r in kite.instruments("NFO") if r["name"] == "NIFTY" and r["instrument_type"] == "FUT"
    )
    nifty = {"exchange": "NFO", "tradingsymbol": future["tradingsymbol"], "product": "NRML"}
    with pytest.raises(kite_errors.InputException, match="multiples of the lot size 65"):
        order(kite, **nifty, quantity=64)
    frozen = settled(kite, order(kite, **nifty, quantity=65 * 28), "REJECTED")
    assert "freeze quantity 1800" in frozen["status_message"]


def test_a_limit_order_rests_fills_when_crossed(kite: KiteConnect, control: SimulatorControl) -> None:
    control.set_price("NSE:WIPRO", "243.50")
    limit = order(kite, tradingsymbol="WIPRO", order_type="LIMIT", price=245.3, market_protection=None)
    resting = settled(kite, limit, "OPEN")
    assert (resting["pending_quantity"], resting["average_price"], resting["price"]) == (10, 0, 245.3)
    control.play("NSE:WIPRO", ["244.00", "245.29"])
    assert row(kite, limit)["status"] == "OPEN"
    control.set_price("NSE:WIPRO", "245.30")
    assert row(kite, limit)["average_price"] == 245.3


def test_a_protected_order_rests_at_its_band(kite: KiteConnect, control: SimulatorControl) -> None:
    control.set_price("NSE:RELIANCE", "1480.00")
    control.set_book("NSE:RELIANCE", bid="1450")
    order_id = order(kite, tradingsymbol="RELIANCE")
    resting = settled(kite, order_id, "OPEN")
    assert (resting["order_type"], resting["filled_quantity"]) == ("MARKET", 0)
    assert control.ledger(resting["placed_by"])[0]["limit"] == "1472.60"  # 0.5 % below 1480
    control.set_book("NSE:RELIANCE")
    control.set_price("NSE:RELIANCE", "1472.60")
    assert row(kite, order_id)["status"] == "COMPLETE"


@pytest.mark.parametrize(
    ("symbol", "price", "limit"),
    [("IDEA", "10.20", "10.00"), ("PNB", "123.40", "122.17"), ("TCS", "3110.00", "3094.45")],
)
def test_automatic_protection_follows_the_slabs(
    kite: KiteConnect, control: SimulatorControl, symbol: str, price: str, limit: str
) -> None:
    control.set_price(f"NSE:{symbol}", price)
    control.set_book(f"NSE:{symbol}", bid="0")
    placed = settled(kite, order(kite, tradingsymbol=symbol), "OPEN")
    (entry,) = control.ledger(placed["placed_by"])
    assert entry["limit"] == limit
    control.set_book(f"NSE:{symbol}")


def test_cancel_and_modify(kite: KiteConnect, control: SimulatorControl) -> None:
    control.set_price("NSE:ITC", "407.00")
    limit = order(kite, tradingsymbol="ITC", order_type="LIMIT", price=420, market_protection=None)
    settled(kite, limit, "OPEN")
    assert kite.modify_order("regular", limit, price=419.5, quantity=7) == limit
    changed = row(kite, limit)
    assert (changed["price"], changed["quantity"], changed["modified"]) == (419.5, 7, True)
    assert kite.cancel_order("regular", limit) == limit
    gone = row(kite, limit)
    assert (gone["status"], gone["cancelled_quantity"], gone["filled_quantity"]) == ("CANCELLED", 7, 0)
    for again in (kite.cancel_order, kite.modify_order):
        with pytest.raises(kite_errors.OrderException):
            again("regular", limit)
        with pytest.raises(kite_errors.OrderException, match="Couldn't find that `order_id`"):
            again("regular", "1")


def test_modifications_run_out(kite: KiteConnect, control: SimulatorControl) -> None:
    control.set_price("NSE:LT", "4010.00")
    limit = order(kite, tradingsymbol="LT", order_type="LIMIT", price=4100, market_protection=None)
    for step in range(25):
        kite.modify_order("regular", limit, price=4100 + step)
    with pytest.raises(kite_errors.OrderException, match="Maximum allowed order modifications exceeded"):
        kite.modify_order("regular", limit, price=4000)


def test_accounts_do_not_see_each_other(
    kite: KiteConnect, running: RunningSimulator, control: SimulatorControl
) -> None:
    order_id = order(kite)
    other = control.create_account("OTHER1")
    stranger = KiteConnect(other["api_key"], other["access_token"], root=running.api_root)
    assert stranger.orders() == []
    with pytest.raises(kite_errors.OrderException, match="Couldn't find"):
        stranger.order_history(order_id)
