"""However a connection is lost, all that is wanted comes again; what is not wanted stays away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from pytest_django import Settings

from marketdata.domain.errors import BrokerUnavailable
from marketdata.domain.feed import ListenerState
from marketdata.domain.prices import to_units
from marketdata.domain.ticks import FeedMode
from marketdata.instruments import InstrumentBook
from marketdata.ports import BrokerConfig
from marketdata.simulator.control import SimulatorControl
from tests.contract.conftest import Feed
from tests.contract.feeding import INFY, SBIN, carried
from tests.support.certificates import self_signed
from tests.support.kite_feed import kite_feed
from tests.support.simulator import RunningSimulator
from tests.support.stopwatch import within
from tests.support.waiting import eventually_async

Loss = Callable[[SimulatorControl, str], object]
LOSSES: dict[str, Loss] = {
    "cut": lambda control, account: control.drop(account),
    "closed": lambda control, account: control.close(account, code=1000, reason="bye"),
    "going away": lambda control, account: control.close(account, code=1001),
    "error": lambda control, account: control.close(account, code=1011, reason="internal error"),
    "silent": lambda control, account: control.fault("silence", account=account, seconds=3.5),
    "garbled": lambda control, account: [control.malformed(account) for _ in range(21)],
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_everything_comes_again(
    feed: Feed, control: SimulatorControl, config: BrokerConfig, loss: str
) -> None:
    await feed.listener.subscribe([INFY], FeedMode.FULL)
    await feed.listener.subscribe([SBIN], FeedMode.LTP)
    await feed.listener.connect()
    before = await carried(control, config, INFY, SBIN)
    await asyncio.to_thread(LOSSES[loss], control, config.client_id)
    await eventually_async(lambda: feed.disconnects, timeout=10)
    assert isinstance(feed.disconnects[0], BrokerUnavailable)
    await eventually_async(lambda: feed.listener.is_connected, timeout=10)
    assert await carried(control, config, INFY, SBIN) == before
    feed.ticks.clear()

    def come() -> bool:
        for symbol in (INFY, SBIN):
            control.set_price(symbol, "801.05")
        return {tick.symbol for tick in feed.ticks} == {INFY, SBIN}

    await eventually_async(come)
    assert feed.listener.health_check().last_error == ""


async def test_a_broker_that_is_away_is_tried_until_it_is_back(
    feed: Feed, control: SimulatorControl, config: BrokerConfig, broker: str
) -> None:
    await feed.listener.subscribe([INFY])
    control.fault("forbid", account=config.client_id, broker=broker, times=2, status=502)
    await feed.listener.connect()
    assert feed.state is ListenerState.CONNECTING
    assert feed.connects == []
    assert feed.listener.reconnect_attempts == 1
    await eventually_async(lambda: feed.listener.is_connected, timeout=10)
    await carried(control, config, INFY)


async def test_what_changed_while_away_is_asked_for(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.subscribe([INFY], FeedMode.FULL)
    await feed.listener.connect()
    full = (await carried(control, config, INFY))[INFY]
    await feed.listener.disconnect()
    await feed.listener.unsubscribe([INFY])
    await feed.listener.subscribe([SBIN], FeedMode.FULL)
    await feed.listener.connect()
    assert await carried(control, config, SBIN) == {SBIN: full}


async def test_an_unsubscribed_instrument_falls_silent(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.subscribe([INFY], FeedMode.FULL)
    await feed.listener.subscribe([SBIN], FeedMode.LTP)
    await feed.listener.connect()
    await carried(control, config, INFY, SBIN)
    await feed.listener.unsubscribe([INFY, SBIN])
    await carried(control, config)
    feed.ticks.clear()
    for symbol in (INFY, SBIN):
        control.set_price(symbol, "802")
    await feed.listener.subscribe([SBIN], FeedMode.LTP)
    await eventually_async(lambda: feed.ticks)
    assert {tick.symbol for tick in feed.ticks} == {SBIN}


async def test_a_mode_changes_without_a_gap(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    prices = [f"{1500 + n}.05" for n in range(60)]
    await feed.listener.subscribe([INFY], FeedMode.LTP)
    await feed.listener.connect()
    await carried(control, config, INFY)
    playing = asyncio.create_task(asyncio.to_thread(control.play, INFY, prices, gap_s=0.005))
    for mode in (FeedMode.FULL, FeedMode.LTP) * 5:
        await asyncio.sleep(0.02)
        await feed.listener.subscribe([INFY], mode)
    await playing
    await eventually_async(lambda: str(feed.price(INFY)) == prices[-1])
    assert {tick.price for tick in feed.ticks} >= {to_units(Decimal(price)) for price in prices}
    assert feed.disconnects == []


async def test_a_thousand_instruments_are_subscribed_within_two_seconds(
    feed: Feed,
    control: SimulatorControl,
    config: BrokerConfig,
    book: InstrumentBook,
    running: RunningSimulator,
) -> None:
    await feed.listener.subscribe([name for name in sorted(book.symbols) if name.startswith("NFO:")][:1000])
    with within(2, running.pid):
        await feed.listener.connect()
        await eventually_async(lambda: len(control.subscriptions(config.client_id)) == 1000, 20)


async def test_an_impostor_is_told_nothing(
    feed: Feed, broker: str, settings: Settings, tmp_path: Path
) -> None:
    tls, _ = self_signed(tmp_path)
    async with kite_feed(tls) as server:
        root, roots = f"wss://127.0.0.1:{server.port}", settings.BROKER_ENDPOINTS[broker]
        secured = {role: root if at.startswith("ws:") else at for role, at in roots.items()}
        settings.BROKER_ENDPOINTS = {**settings.BROKER_ENDPOINTS, broker: secured}
        await feed.listener.connect()
        assert "not trusted" in str(feed.errors[0])
        assert feed.connects == []
        assert server.requests == []
