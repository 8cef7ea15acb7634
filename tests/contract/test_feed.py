"""What every broker's listener does on its broker's own wire."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from decimal import Decimal
from fnmatch import fnmatch
from functools import partial

import pytest

from marketdata.domain.errors import BrokerRejected, LoginExpired, UnknownInstrument
from marketdata.domain.feed import ListenerState
from marketdata.domain.orders import OrderStatus, Side
from marketdata.domain.ticks import FeedMode
from marketdata.instruments import InstrumentBook
from marketdata.ports import BrokerConfig
from marketdata.secret import Secret
from marketdata.simulator.control import SimulatorControl
from tests.contract.conftest import Feed
from tests.contract.feeding import INDEX, INFY, SBIN, carried
from tests.support.simulator import RunningSimulator
from tests.support.stopwatch import Stopwatch
from tests.support.waiting import eventually_async


async def test_prices_arrive_exact_and_timed(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.subscribe([INFY, INDEX])
    await feed.listener.connect()
    await carried(control, config, INFY, INDEX)
    control.set_price(INFY, "1501.35")
    control.set_price(INDEX, "24512.65")
    await eventually_async(lambda: feed.price(INFY) == Decimal("1501.35"))
    await eventually_async(lambda: feed.price(INDEX) == Decimal("24512.65"))
    latest = {tick.symbol: tick for tick in feed.ticks}
    for tick in latest.values():
        assert tick.exchange_time is not None
        assert abs(tick.received_at - tick.exchange_time) < 5
    assert latest[INFY].bid is not None


def shows(feed: Feed, symbol: str, price: Decimal) -> bool:
    return feed.price(symbol) == price


# Prices that a float32 does not hold are among them.
FINEST = {
    "NSE:INFY": ("1501.35", "1501.4"),
    "NSE:NIFTY 50": ("24512.65", "24512.63"),
    "BSE:SENSEX": ("84512.65", "84512.63"),
    "BSE:INFY": ("1500.95", "1499.05"),
    "NFO:*FUT": ("24512.6", "24513.7"),
    "NFO:*CE": ("0.05", "101.15"),
    "BFO:*FUT": ("84512.65", "84513.7"),
    "CDS:*FUT": ("84.3525", "84.3475"),
    "MCX:*FUT": ("131072", "131089"),
}


@pytest.mark.parametrize("pattern", FINEST)
async def test_prices_arrive_exact_on_every_segment(
    feed: Feed, control: SimulatorControl, config: BrokerConfig, book: InstrumentBook, pattern: str
) -> None:
    symbol = min(name for name in book.symbols if fnmatch(name, pattern))
    await feed.listener.subscribe([symbol])
    await feed.listener.connect()
    await carried(control, config, symbol)
    for price in FINEST[pattern]:
        control.set_price(symbol, price)
        await eventually_async(partial(shows, feed, symbol, Decimal(price)))


async def test_the_answer_to_a_subscription_is_marked(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    control.set_price(INFY, "1500", age_s=3600)
    await feed.listener.subscribe([INFY])
    await feed.listener.connect()
    await eventually_async(lambda: any(tick.exchange_time for tick in feed.ticks))
    assert all(tick.is_first for tick in feed.ticks)
    control.set_price(INFY, "1501")
    await eventually_async(lambda: not feed.ticks[-1].is_first)


async def test_everything_is_asked_for_again_after_a_drop(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.subscribe([INFY], FeedMode.FULL)
    await feed.listener.subscribe([SBIN], FeedMode.LTP)
    await feed.listener.connect()
    before = await carried(control, config, INFY, SBIN)
    assert before[INFY] != before[SBIN]
    assert control.drop(config.client_id) == 1
    await eventually_async(lambda: len(feed.connects) == 2)
    assert await carried(control, config, INFY, SBIN) == before
    feed.ticks.clear()
    control.set_price(SBIN, "801")
    await eventually_async(lambda: feed.price(SBIN) == Decimal(801))
    assert len(feed.disconnects) == 1


async def test_subscriptions_change_while_connected(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.connect()
    await feed.listener.subscribe([INFY, SBIN], FeedMode.LTP)
    watched = await carried(control, config, INFY, SBIN)
    await feed.listener.subscribe([INFY], FeedMode.FULL)
    await eventually_async(lambda: control.subscriptions(config.client_id)[INFY] != watched[INFY])
    await feed.listener.subscribe([INFY], FeedMode.LTP)
    await eventually_async(lambda: control.subscriptions(config.client_id) == watched)
    await feed.listener.unsubscribe([INFY])
    await carried(control, config, SBIN)
    with pytest.raises(UnknownInstrument, match="NSE:NOSUCH"):
        await feed.listener.subscribe(["NSE:NOSUCH"])


async def test_disconnect_twice(feed: Feed, control: SimulatorControl, config: BrokerConfig) -> None:
    await feed.listener.connect()
    await eventually_async(lambda: control.connections().get(config.client_id) == 1)
    await feed.listener.disconnect()
    await feed.listener.disconnect()
    assert feed.disconnects == [None]
    await eventually_async(lambda: not control.connections().get(config.client_id))


async def test_a_dead_token_asks_for_a_person(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.connect()
    fresh = control.mint_token(config.client_id)
    control.drop(config.client_id)
    await eventually_async(lambda: feed.state is ListenerState.LOGIN_NEEDED)
    assert isinstance(feed.errors[-1], LoginExpired)
    refused = control.counters().get("handshakes.refused", 0)
    await asyncio.sleep(0.5)
    assert control.counters().get("handshakes.refused", 0) == refused
    await feed.listener.use_config(replace(config, access_token=Secret(fresh)))
    assert feed.listener.is_connected


async def test_a_silent_connection_is_replaced(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.connect()
    control.fault("silence", account=config.client_id, seconds=4)
    await eventually_async(lambda: feed.disconnects, timeout=10)
    assert "silent" in str(feed.disconnects[0])
    await eventually_async(lambda: len(feed.connects) >= 2, timeout=10)


async def test_heartbeats_alone_keep_it_up(feed: Feed, running: RunningSimulator) -> None:
    await feed.listener.connect()
    watch = Stopwatch(running.pid)
    await asyncio.sleep(3)
    assert feed.disconnects == []
    age = feed.listener.health_check().last_frame_age_s
    assert age is not None
    assert age < 2 + watch.queued()


@pytest.mark.parametrize("kind", ["truncated", "unknown", "garbage"])
async def test_a_malformed_frame_does_no_harm(
    feed: Feed, control: SimulatorControl, config: BrokerConfig, kind: str
) -> None:
    await feed.listener.subscribe([INFY])
    await feed.listener.connect()
    await carried(control, config, INFY)
    assert control.malformed(config.client_id, kind=kind) == 1
    control.set_price(INFY, "1499.95")
    await eventually_async(lambda: feed.price(INFY) == Decimal("1499.95"))
    assert feed.disconnects == []


async def test_order_updates_arrive(feed: Feed, control: SimulatorControl, config: BrokerConfig) -> None:
    await feed.listener.connect()
    order_id = control.place_order(config.client_id, INFY, "BUY", 3, "MIS", tag="HELLO1")
    await eventually_async(lambda: any(order.status is OrderStatus.FILLED for order in feed.orders))
    order = feed.orders[-1]
    assert (order.order_id, order.tag, order.symbol, order.side, order.product) == (
        order_id, "HELLO1", INFY, Side.BUY, "MIS",
    )  # fmt: skip
    assert (order.quantity, order.filled_quantity) == (3, 3)
    assert order.average_price


async def test_a_complaint_is_passed_on_and_the_socket_kept(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.connect()
    assert control.error_text("too many tokens", config.client_id) == 1
    await eventually_async(lambda: feed.errors)
    assert isinstance(feed.errors[0], BrokerRejected)
    assert "too many tokens" in str(feed.errors[0])
    assert feed.listener.is_connected


async def test_no_secret_is_said(
    feed: Feed, control: SimulatorControl, config: BrokerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await feed.listener.subscribe([INFY])
    await feed.listener.connect()
    control.drop(config.client_id)
    await eventually_async(lambda: len(feed.connects) == 2)
    control.kill_token(config.client_id, drop=True)
    await eventually_async(lambda: feed.state is ListenerState.LOGIN_NEEDED)
    said = caplog.text + repr((feed.errors, feed.disconnects, feed.listener.health_check(), config))
    assert "log in again" in said
    assert config.access_token.reveal() not in said
    assert config.api_secret.reveal() not in said
