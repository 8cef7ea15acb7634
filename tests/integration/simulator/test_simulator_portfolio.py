"""The unmodified SDK on positions, holdings and quotes."""

from __future__ import annotations

import pytest
import requests
from kiteconnect import KiteConnect
from kiteconnect import exceptions as kite_errors

from marketdata.simulator.client import SimulatorError
from marketdata.simulator.control import SimulatorControl
from marketdata.simulator.exchange import IST
from tests.support.simulator import RunningSimulator
from tests.support.simulator_kite import mock, order, settled


def test_holdings_are_sold_once(
    kite: KiteConnect, account: dict[str, str], control: SimulatorControl
) -> None:
    control.set_holding(account["client_id"], "NSE:SBIN", 20, "900")
    (held,) = kite.holdings()
    assert held.keys() >= mock("holdings")[0].keys()
    assert (held["quantity"], held["used_quantity"], held["average_price"]) == (20, 0, 900)
    settled(kite, order(kite, tradingsymbol="SBIN", product="CNC", quantity=15))
    assert kite.holdings()[0]["used_quantity"] == 15
    assert kite.positions()["net"][0]["quantity"] == -15
    refused = settled(kite, order(kite, tradingsymbol="SBIN", product="CNC", quantity=6), "REJECTED")
    assert "Check holdings" in refused["status_message"]


def test_financed_holdings(kite: KiteConnect, account: dict[str, str], control: SimulatorControl) -> None:
    control.set_holding(account["client_id"], "NSE:SBIN", 8, "950", product="MTF")
    settled(kite, order(kite, tradingsymbol="SBIN", product="MTF", quantity=3))
    (held,) = kite.holdings()
    assert (held["quantity"], held["mtf"]["quantity"], held["mtf"]["used_quantity"]) == (0, 8, 3)
    with pytest.raises(SimulatorError, match="product 'MIS' is not held over night"):
        control.set_holding(account["client_id"], "NSE:SBIN", 8, product="MIS")


def test_carried_positions(kite: KiteConnect, account: dict[str, str], control: SimulatorControl) -> None:
    gold = next(r for r in kite.instruments("MCX") if r["name"] == "GOLDM")["tradingsymbol"]
    control.set_position(account["client_id"], f"MCX:{gold}", "NRML", -2, "123500")
    control.set_price(f"MCX:{gold}", "123400")
    positions = kite.positions()
    (position,) = positions["net"]
    assert positions["day"] == []
    assert (position["quantity"], position["overnight_quantity"], position["multiplier"]) == (-2, -2, 10)
    assert (position["average_price"], position["pnl"]) == (123500, 2000)


def test_quotes(kite: KiteConnect, control: SimulatorControl) -> None:
    control.play("NSE:CIPLA", ["1516.00", "1512.00", "1514.05"])
    held = control.instrument("NSE:CIPLA")
    names = ["NSE:CIPLA", "NSE:NOPE"]
    assert kite.ltp(names) == {"NSE:CIPLA": {"instrument_token": 177665, "last_price": 1514.05}}
    day = {"open": 1515, "high": 1516, "low": 1512, "close": 1515}
    assert kite.ohlc(names)["NSE:CIPLA"]["ohlc"] == day
    quote = kite.quote(names)["NSE:CIPLA"]
    assert quote.keys() >= mock("quote")["NSE:INFY"].keys()
    assert quote["ohlc"] == day
    assert quote["last_trade_time"].replace(tzinfo=IST).timestamp() == held["last_trade_time"]
    assert (quote["depth"]["buy"][0]["price"], quote["depth"]["sell"][0]["price"]) == (1514.05, 1514.1)
    assert (quote["lower_circuit_limit"], quote["upper_circuit_limit"]) == (1363.5, 1666.5)


def test_quote_limits(kite: KiteConnect) -> None:
    names = [f"{row['exchange']}:{row['tradingsymbol']}" for row in kite.instruments()[:1_001]]
    assert len(kite.ltp(names[:1_000])) == len(kite.ohlc(names[:1_000])) == 1_000
    assert len(kite.quote(names[:500])) == 500
    for ask, count in ((kite.quote, 501), (kite.ohlc, 1_001), (kite.ltp, 1_001)):
        with pytest.raises(kite_errors.InputException, match=f"Maximum of {count - 1}"):
            ask(names[:count])


def test_an_unknown_path_says_so(running: RunningSimulator) -> None:
    answer = requests.get(f"{running.api_root}/gtt/triggers", timeout=5)
    assert (answer.status_code, answer.json()["error_type"]) == (404, "GeneralException")
