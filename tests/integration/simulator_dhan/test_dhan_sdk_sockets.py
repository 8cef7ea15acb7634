"""The SDK's own socket clients, unmodified but for the address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from dhanhq import DhanContext, MarketFeed, OrderUpdate, dhanhq

from marketdata.simulator.control import SimulatorControl
from tests.support.simulator import RunningSimulator
from tests.support.simulator_dhan import order
from tests.support.waiting import eventually_async


@pytest.fixture
async def ticker(
    running: RunningSimulator, account: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MarketFeed]:
    """The SDK's feed, on this test's loop."""
    monkeypatch.setattr(MarketFeed, "market_feed_wss", running.dhan_feed_root + "/")
    context = DhanContext(account["client_id"], account["access_token"])
    feed = MarketFeed(context, [(MarketFeed.NSE, "1594", MarketFeed.Full)])
    feed.loop.close()
    feed.loop = asyncio.get_running_loop()
    asyncio.set_event_loop(feed.loop)
    await feed.connect()
    yield feed
    await feed.disconnect()


async def read(ticker: MarketFeed, kind: str) -> dict[str, Any]:
    """Return the next packet of a kind."""
    async with asyncio.timeout(5):
        while True:
            found = await ticker.get_instrument_data()
            if isinstance(found, dict) and found["type"] == kind:
                return found


async def test_the_market_feed(
    ticker: MarketFeed, control: SimulatorControl, account: dict[str, str]
) -> None:
    assert (await read(ticker, "Full Data"))["security_id"] == 1594
    ticker.subscribe_symbols([(MarketFeed.IDX, "13", MarketFeed.Ticker)])
    assert (await read(ticker, "Previous Close"))["prev_close"] == "25900.00"
    await asyncio.to_thread(control.set_price, "NSE:INFY", "1503.45")
    assert (await read(ticker, "Full Data"))["LTP"] == "1503.45"
    ticker.unsubscribe_symbols([(MarketFeed.NSE, "1594", MarketFeed.Full)])
    await eventually_async(lambda: control.subscriptions(account["client_id"]) == {"NSE:NIFTY 50": "ticker"})


async def test_order_updates(
    running: RunningSimulator, account: dict[str, str], control: SimulatorControl, dhan: dhanhq
) -> None:
    updates = OrderUpdate(DhanContext(account["client_id"], account["access_token"]))
    updates.order_feed_wss = running.env["DHAN_ORDER_FEED_ROOT"]
    heard: list[dict[str, Any]] = []
    updates.on_update = heard.append
    task = asyncio.create_task(updates.connect_order_update())
    await eventually_async(lambda: control.connections(role="order_feed").get(account["client_id"]))
    order_id = await asyncio.to_thread(order, dhan)
    await eventually_async(lambda: len(heard) == 2)
    assert [(h["Data"]["orderNo"], h["Data"]["status"]) for h in heard] == [
        (order_id, "Pending"), (order_id, "Traded"),
    ]  # fmt: skip
    task.cancel()
