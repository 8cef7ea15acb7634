"""A refusal that no other order would mend: told in plain words with the broker's own, and nothing sent again."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async

from tests.support.simulator import RunningSimulator
from tests.support.stopwatch import Stopwatch
from tests.support.trader import Trader
from tests.support.waiting import eventually_async

REFUSALS = {
    "zerodha": [
        ("TokenException", 403, "Incorrect `api_key` or `access_token`.", "log in again"),
        ("PermissionException", 403, "IP 10.0.0.1 is not allowed to place orders for this app", "static IP"),
        ("MarginException", 400, "Insufficient funds. Required margin is 75000.00.", "not enough margin"),
        ("HoldingException", 428, "Authorise the sale of holdings with TPIN at CDSL", "depository"),
        ("OrderException", 400, "Check holdings including btst quantity", "not delivered yet"),
    ],
    "dhan": [
        ("DH-901", 401, "Client ID or user generated access token is invalid or expired.", "log in again"),
        ("DH-911", 400, "Invalid IP", "static IP"),
        ("DH-906", 400, "Insufficient funds. Required margin is 75000.00.", "not enough margin"),
        ("DH-906", 400, "Authorise the holding with TPIN / EDIS", "depository"),
        ("DH-906", 400, "RMS: check holdings including btst", "not delivered yet"),
    ],
}


@pytest.mark.parametrize("number", range(5), ids=["login", "ip", "margin", "authorisation", "t1"])
async def test_it_is_told_in_plain_words_and_sent_once(
    trader: Trader, exchange: RunningSimulator, number: int
) -> None:
    kind, status, text, plain = REFUSALS[trader.broker][number]
    await sync_to_async(trader.arm)()
    trader.fault("reject", text=text, error_type=kind, status=status)
    async with trader.running() as engine:
        trader.breach(engine)
        watch = Stopwatch(exchange.pid)
        await trader.asked(plain, "The broker says: ", text)
        assert watch.seconds() <= 3
        await eventually_async(lambda: trader.told_of(plain, text), 10)
        assert trader.places() == 1
    assert trader.held() == 100
