"""The unmodified SDK against the simulator's HTTP API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from dhanhq import dhanhq

from marketdata.simulator.control import SimulatorControl
from tests.support import simulator_dhan
from tests.support.simulator import RunningSimulator
from tests.support.simulator_dhan import order, placed, row, settled

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "dhan" / "rest"


def sample(name: str) -> Any:
    """Return the broker's own sample, out of the SDK's wrapping."""
    found = json.loads((SAMPLES / f"{name}.json").read_text())
    return found["data"] if isinstance(found, dict) and "data" in found else found


def error(answer: dict[str, Any]) -> tuple[str, str]:
    assert answer["status"] == "failure"
    return answer["remarks"]["error_code"], answer["remarks"]["error_message"]


# --- Who asks ---------------------------------------------------------------------------
def profile(running: RunningSimulator, account: dict[str, str], **headers: str) -> requests.Response:
    found = {"access-token": account["access_token"], "client-id": account["client_id"], **headers}
    return requests.get(f"{running.dhan_api_root}/profile", headers=found, timeout=5)


def test_profile(running: RunningSimulator, account: dict[str, str]) -> None:
    answer = profile(running, account).json()
    assert answer.keys() == sample("profile").keys()
    assert answer["dhanClientId"] == account["client_id"]
    assert len(answer["tokenValidity"]) == len("30/03/2025 15:37")


def test_a_lapsed_data_plan_shows_in_the_profile(
    running: RunningSimulator, account: dict[str, str], control: SimulatorControl
) -> None:
    assert profile(running, account).json()["dataPlan"] == "Active"
    control.set_variant("dhan.data_plan", "Deactive")
    assert profile(running, account).json()["dataPlan"] == "Deactive"


@pytest.mark.parametrize("how", ["killed", "replaced", "wrong", "another client's"])
def test_a_dead_token(
    running: RunningSimulator, account: dict[str, str], control: SimulatorControl, how: str
) -> None:
    headers = {}
    match how:
        case "killed":
            control.kill_token(account["client_id"])
        case "replaced":
            control.mint_token(account["client_id"])
        case "wrong":
            headers = {"access-token": "wrong"}
        case _:
            headers = {"client-id": running.dhan_demo["client_id"]}
    answer = profile(running, account, **headers)
    assert answer.status_code == 401
    assert answer.json().keys() == sample("error").keys()
    assert answer.json()["errorCode"] == "DH-901"


def test_market_data_has_errors_of_its_own_shape(running: RunningSimulator, account: dict[str, str]) -> None:
    wrong = simulator_dhan.client(running.dhan_api_root, account | {"access_token": "wrong"})
    assert set(wrong.ticker_data({"NSE_EQ": [1594]})["remarks"].values()) == {
        None
    }  # what the SDK makes of it
    url, headers = f"{running.dhan_api_root}/marketfeed/ltp", {"access-token": "wrong"}
    body = requests.post(url, json={"NSE_EQ": [1594]}, headers=headers, timeout=5).json()
    assert (body["status"], list(body["data"])) == ("failed", ["808"])


# --- Orders -----------------------------------------------------------------------------
def test_a_market_order_becomes_a_limit_order_and_fills(dhan: dhanhq, account: dict[str, str]) -> None:
    answer = placed(dhan, tag="ours 1_a-B")
    assert answer["data"].keys() == sample("place_order").keys()
    assert answer["data"]["orderStatus"] == "TRANSIT"
    done = settled(dhan, answer["data"]["orderId"])
    assert done.keys() == sample("order_object")[0].keys()
    assert (done["orderType"], done["correlationId"]) == ("LIMIT", "ours 1_a-B")
    assert (done["filledQty"], done["remainingQuantity"]) == (10, 0)
    assert done["averageTradedPrice"] > done["price"] > 0  # the protected price, and a better one
    assert dhan.get_order_by_correlationID("ours 1_a-B")["data"]["orderId"] == done["orderId"]
    assert [r["orderId"] for r in dhan.get_order_list()["data"]] == [done["orderId"]]


def test_a_market_order_can_rest_at_its_protected_price(dhan: dhanhq, control: SimulatorControl) -> None:
    control.set_price("NSE:WIPRO", "250.00")
    control.set_book("NSE:WIPRO", bid="240.00", ask="240.10")
    order_id = order(dhan, security_id="3787")
    resting = settled(dhan, order_id, "PENDING")
    assert (resting["orderType"], resting["price"], resting["filledQty"]) == ("LIMIT", 247.5, 0)
    control.set_book("NSE:WIPRO", bid="248.00")
    control.set_price("NSE:WIPRO", "248.00")
    assert settled(dhan, order_id)["averageTradedPrice"] == 248


def test_a_stop_loss_at_the_market_is_refused_and_one_with_a_limit_held(
    dhan: dhanhq, control: SimulatorControl
) -> None:
    control.set_price("NSE:ITC", "407.00")
    stop = {"security_id": "1660", "trigger_price": 400, "order_type": "STOP_LOSS_MARKET"}
    assert error(placed(dhan, **stop)) == ("DH-906", "Trigger Price should be greater than Price")
    stop |= {"order_type": "STOP_LOSS", "price": 398}
    order_id = order(dhan, **stop)
    waiting = settled(dhan, order_id, "PENDING")
    assert (waiting["orderType"], waiting["triggerPrice"], waiting["price"]) == ("STOP_LOSS", 400, 398)
    control.set_price("NSE:ITC", "399.50")
    assert settled(dhan, order_id)["averageTradedPrice"] == 399.5


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"quantity": 0}, "DH-905", "quantity"),
        ({"order_type": "LIMIT"}, "DH-905", "price"),
        ({"order_type": "LIMIT", "price": 9_999}, "DH-906", "circuit limits"),
        ({"product_type": "MARGIN"}, "DH-905", "productType"),
        ({"product_type": "MIS"}, "DH-905", "productType"),
        ({"security_id": "2"}, "DH-905", "SecurityId"),
        ({"security_id": 1594}, "DH-905", "SecurityId"),
        ({"exchange_segment": "NSE"}, "DH-905", "ExchangeSegment"),
        ({"transaction_type": "HOLD"}, "DH-905", "transactionType"),
        ({"validity": "GTC"}, "DH-905", "validity"),
        ({"tag": "x" * 31}, "DH-905", "correlationId"),
        ({"tag": "a.b"}, "DH-905", "correlationId"),
        ({"disclosed_quantity": 3}, "DH-905", "30%"),
        (
            {"exchange_segment": "NSE_FNO", "security_id": "35001", "product_type": "MARGIN"},
            "DH-905",
            "lot size",
        ),
    ],
)
def test_refusals(dhan: dhanhq, changes: dict[str, object], code: str, text: str) -> None:
    found, message = error(placed(dhan, **changes))
    assert (found, text in message) == (code, True), message
    assert dhan.get_order_list()["data"] == []


def test_what_the_risk_system_refuses_is_in_the_book(dhan: dhanhq) -> None:
    refused = settled(dhan, order(dhan, product_type="CNC"), "REJECTED")
    assert "Check holdings" in refused["omsErrorDescription"]
    off_grid = settled(dhan, order(dhan, order_type="LIMIT", price=1500.03), "REJECTED")
    assert "Tick size" in off_grid["omsErrorDescription"]


def test_modify_and_cancel(dhan: dhanhq, control: SimulatorControl) -> None:
    control.set_price("NSE:HCLTECH", "1610.00")
    order_id = order(dhan, security_id="7229", order_type="LIMIT", price=1650)
    settled(dhan, order_id, "PENDING")
    answer = dhan.modify_order(order_id, "LIMIT", "", 20, 1660.5, 0, 0, "DAY")
    assert answer["data"] == {"orderId": order_id, "orderStatus": "TRANSIT"}
    assert (row(dhan, order_id)["quantity"], row(dhan, order_id)["price"]) == (20, 1660.5)
    assert dhan.cancel_order(order_id)["data"] == {"orderId": order_id, "orderStatus": "CANCELLED"}
    assert row(dhan, order_id)["orderStatus"] == "CANCELLED"
    assert error(dhan.cancel_order(order_id)) == (
        "DH-906", "Order is already cancelled and cannot be changed",
    )  # fmt: skip


def test_a_cancellation_is_a_202(
    running: RunningSimulator, account: dict[str, str], dhan: dhanhq, control: SimulatorControl
) -> None:
    control.fault("rest", account=account["client_id"])
    url = f"{running.dhan_api_root}/orders/{order(dhan)}"
    headers = {"access-token": account["access_token"]}
    assert requests.delete(url, headers=headers, timeout=5).status_code == 202


def test_nobody_sees_anothers_orders(
    dhan: dhanhq, control: SimulatorControl, running: RunningSimulator
) -> None:
    order_id = order(dhan, tag="MINE")
    stranger = simulator_dhan.client(running.dhan_api_root, control.create_account("1200000001"))
    assert stranger.get_order_list()["data"] == []
    assert error(stranger.get_order_by_id(order_id)) == ("DH-906", "Order not found")
    assert error(stranger.get_order_by_correlationID("MINE"))[0] == "DH-906"


def test_an_order_needs_the_tokens_own_client(running: RunningSimulator, account: dict[str, str]) -> None:
    headers = {"access-token": account["access_token"]}
    answer = requests.post(f"{running.dhan_api_root}/orders", json={}, headers=headers, timeout=5)
    assert (answer.status_code, answer.json()["errorCode"]) == (401, "DH-901")


def test_trades(dhan: dhanhq) -> None:
    first, second = order(dhan), order(dhan, transaction_type="BUY", quantity=4)
    settled(dhan, first), settled(dhan, second)
    trades = dhan.get_trade_book()["data"]
    assert [(t["orderId"], t["tradedQuantity"]) for t in trades] == [(first, 10), (second, 4)]
    assert dhan.get_trade_book(second)["data"] == trades[1:]
    assert trades[0]["exchangeTradeId"] != trades[1]["exchangeTradeId"]


# --- Portfolio and quotes ---------------------------------------------------------------
def test_positions(dhan: dhanhq, control: SimulatorControl) -> None:
    control.set_price("NSE:SBIN", "972.00")
    settled(dhan, order(dhan, security_id="3045"))
    (position,) = dhan.get_positions()["data"]
    assert position.keys() == sample("positions")[0].keys()
    assert (position["netQty"], position["positionType"], position["productType"]) == (
        -10, "SHORT", "INTRADAY",
    )  # fmt: skip
    settled(dhan, order(dhan, security_id="3045", transaction_type="BUY"))
    (closed,) = dhan.get_positions()["data"]
    assert (closed["netQty"], closed["positionType"], closed["buyQty"], closed["sellQty"]) == (
        0, "CLOSED", 10, 10,
    )  # fmt: skip


def test_no_holdings_is_an_error_unless_told(dhan: dhanhq, control: SimulatorControl) -> None:
    assert error(dhan.get_holdings()) == ("DH-1111", "No holdings available")
    control.set_variant("dhan.empty_holdings", "list")
    assert dhan.get_holdings()["data"] == []


def test_holdings_are_sold_once(dhan: dhanhq, account: dict[str, str], control: SimulatorControl) -> None:
    control.set_holding(account["client_id"], "NSE:SBIN", 20, "900")
    (held,) = dhan.get_holdings()["data"]
    assert held.keys() == sample("holdings")[0].keys()
    assert (held["totalQty"], held["availableQty"], held["avgCostPrice"]) == (20, 20, 900)
    settled(dhan, order(dhan, security_id="3045", product_type="CNC", quantity=15))
    assert dhan.get_holdings()["data"][0]["availableQty"] == 5
    assert [p["netQty"] for p in dhan.get_positions()["data"]] == [-15]


def test_funds(dhan: dhanhq, account: dict[str, str]) -> None:
    assert dhan.get_fund_limits()["data"]["dhanClientId"] == account["client_id"]


def test_quotes(dhan: dhanhq, control: SimulatorControl) -> None:
    control.play("NSE:CIPLA", ["1516.00", "1512.00", "1514.05"])
    wanted = {"NSE_EQ": [694, 999_999], "IDX_I": [13]}
    ltp = dhan.ticker_data(wanted)["data"]
    assert ltp == {
        "data": {"NSE_EQ": {"694": {"last_price": 1514.05}}, "IDX_I": {"13": {"last_price": 25900.0}}},
        "status": "success",
    }
    day = {"open": 1515, "high": 1516, "low": 1512, "close": 1515}
    assert dhan.ohlc_data(wanted)["data"]["data"]["NSE_EQ"]["694"]["ohlc"] == day
    quote = dhan.quote_data(wanted)["data"]["data"]["NSE_EQ"]["694"]
    assert (quote["depth"]["buy"][0]["price"], quote["depth"]["sell"][0]["price"]) == (1514.05, 1514.1)
    assert (quote["lower_circuit_limit"], quote["upper_circuit_limit"]) == (1363.5, 1666.5)
    assert len(quote["last_trade_time"]) == len("30/03/2025 15:37:00")


def test_a_thousand_quotes_and_not_one_more(running: RunningSimulator, account: dict[str, str]) -> None:
    headers = {"access-token": account["access_token"]}
    url = f"{running.dhan_api_root}/marketfeed/ltp"
    ids = list(range(35_001, 36_002))
    asked = [
        requests.post(url, json={"NSE_FNO": ids[:n]}, headers=headers, timeout=5) for n in (1_000, 1_001)
    ]
    assert [answer.status_code for answer in asked] == [200, 400]
    assert len(asked[0].json()["data"]["NSE_FNO"]) == 1_000
    assert list(asked[1].json()["data"]) == ["804"]


def test_an_unknown_path_says_so(running: RunningSimulator) -> None:
    answer = requests.get(f"{running.dhan_api_root}/forever/orders", timeout=5)
    assert answer.status_code == 404
    assert answer.json()["errorMessage"] == "GET /v2/forever/orders is not simulated."


# --- The instrument list ----------------------------------------------------------------
def test_the_list_is_like_the_real_one(running: RunningSimulator) -> None:
    real = (SAMPLES / "scrip_master.csv").read_text().splitlines()
    head, *lines = requests.get(running.env["DHAN_INSTRUMENTS_URL"], timeout=5).text.splitlines()
    assert head == real[0]
    keys = [(*line.split(",")[:2], line.split(",")[2]) for line in lines]
    assert len(set(keys)) == len(keys) > 3_000
    assert len({key[2] for key in keys}) < len(keys) - 100  # ids collide across segments
    assert "NSE,I,13,INDEX,0,NIFTY,1.0,Nifty 50,0001-01-01,,XX,0.05,,INDEX,X,NIFTY" in lines
    infy = next(line for line in lines if line.startswith("NSE,E,1594,")).split(",")
    assert (infy[3], infy[5], infy[11], infy[14]) == ("EQUITY", "INFY", "5.0000", "EQ")


def test_the_simulator_owns_one_exchange(
    dhan: dhanhq, running: RunningSimulator, control: SimulatorControl
) -> None:
    """A price set once is the price at every broker."""
    control.set_price("NSE:TCS", "3111.10")
    demo = running.demo
    kite = requests.get(
        f"{running.api_root}/quote/ltp?i=NSE:TCS",
        headers={"Authorization": f"token {demo['api_key']}:{demo['access_token']}"},
        timeout=5,
    ).json()
    theirs = dhan.ticker_data({"NSE_EQ": [11536]})["data"]["data"]["NSE_EQ"]["11536"]["last_price"]
    assert kite["data"]["NSE:TCS"]["last_price"] == theirs == 3111.1
