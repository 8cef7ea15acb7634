"""What only Dhan does: tokens die in four ways, orders come on a socket of their own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from pytest_django import Settings

from marketdata.brokers import registry
from marketdata.domain.errors import BrokerRejected, LoginExpired, TryLater
from marketdata.domain.feed import ListenerState
from marketdata.domain.orders import OrderStatus
from marketdata.ports import BrokerConfig
from marketdata.secret import Secret
from marketdata.simulator.control import SimulatorControl
from tests.contract.conftest import Feed
from tests.contract.feeding import INDEX, INFY, SBIN, carried
from tests.support.simulator import RunningSimulator
from tests.support.waiting import eventually_async

DEAD_TOKEN, STACKED, ALERT_KEYS = "dhan.dead_token", "dhan.packets_per_frame", "dhan.alert_keys"


@pytest.fixture
def broker(running: RunningSimulator, settings: Settings) -> str:
    endpoints = registry.endpoints("dhan")
    roots = {role: running.env[endpoint.variable] for role, endpoint in endpoints.items()}
    settings.BROKER_ENDPOINTS = {**settings.BROKER_ENDPOINTS, "dhan": roots}
    return "dhan"


@pytest.fixture(autouse=True)
def _usual_ways(control: SimulatorControl) -> Iterator[None]:
    usual = control.variants()
    yield
    for name, value in usual.items():
        control.set_variant(name, value)


def handshakes(control: SimulatorControl) -> int:
    counters = control.counters()
    return counters.get("handshakes.accepted", 0) + counters.get("handshakes.refused", 0)


# --- a dead token --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["code", "drop", "401", "429"])
async def test_a_dead_token_is_found_out_and_left_alone(
    feed: Feed, control: SimulatorControl, config: BrokerConfig, how: str
) -> None:
    control.set_variant(DEAD_TOKEN, how)
    fresh = control.mint_token(config.client_id)
    before = handshakes(control)
    await feed.listener.connect()
    await eventually_async(lambda: feed.state is ListenerState.LOGIN_NEEDED)
    assert isinstance(feed.errors[-1], LoginExpired)
    assert "log in again" in feed.listener.health_check().last_error
    await asyncio.sleep(0.5)
    assert handshakes(control) - before == 1
    await feed.listener.use_config(replace(config, access_token=Secret(fresh)))
    await eventually_async(lambda: feed.listener.is_connected)


async def test_a_login_that_expires_during_the_session(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.subscribe([INFY])
    await feed.listener.connect()
    await carried(control, config, INFY)
    control.mint_token(config.client_id)
    assert control.close(config.client_id, code=807) == 1
    await eventually_async(lambda: feed.state is ListenerState.LOGIN_NEEDED)
    assert isinstance(feed.disconnects[0], LoginExpired)


async def test_a_token_of_another_client_is_not_used(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    other = control.create_account(f"{config.client_id}B")
    control.set_variant(DEAD_TOKEN, "drop")
    await feed.listener.use_config(replace(config, access_token=Secret(other["access_token"])))
    await feed.listener.connect()
    await eventually_async(lambda: feed.state is ListenerState.LOGIN_NEEDED)
    assert isinstance(feed.errors[-1], LoginExpired)


async def test_a_drop_with_a_living_token_is_tried_again(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    control.fault("turn_away", account=config.client_id, times=2)
    await feed.listener.connect()
    await eventually_async(lambda: len(feed.connects) == 3, timeout=10)
    await eventually_async(lambda: feed.listener.is_connected)
    assert not any(isinstance(error, LoginExpired) for error in feed.errors)


async def test_a_profile_that_cannot_be_asked_says_nothing_about_the_token(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    control.fault("refuse", operation="api", seconds=1)
    control.fault("turn_away", account=config.client_id)
    await feed.listener.connect()
    await eventually_async(lambda: len(feed.connects) == 2, timeout=10)
    assert feed.listener.is_connected


# --- goodbyes ------------------------------------------------------------------------------


@pytest.mark.parametrize(("reason", "kind"), [(805, TryLater), (806, BrokerRejected), (804, BrokerRejected)])
async def test_some_goodbyes_are_not_answered_with_haste(
    feed: Feed, control: SimulatorControl, config: BrokerConfig, reason: int, kind: type[Exception]
) -> None:
    await feed.listener.connect()
    await eventually_async(lambda: control.connections().get(config.client_id) == 1)
    before = handshakes(control)
    control.close(config.client_id, code=reason)
    await eventually_async(lambda: feed.disconnects)
    assert type(feed.disconnects[0]) is kind
    await asyncio.sleep(0.5)
    assert handshakes(control) == before
    assert feed.state is ListenerState.CONNECTING
    await feed.listener.reconnect()  # a person who has seen to it need not wait
    assert feed.listener.is_connected


async def test_ticks_before_a_goodbye_still_count(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.subscribe([INFY])
    await feed.listener.connect()
    await carried(control, config, INFY)
    control.set_price(INFY, "1499.05")
    control.close(config.client_id, code=800)
    await eventually_async(lambda: len(feed.connects) == 2, timeout=10)
    assert feed.price(INFY) == Decimal("1499.05")


# --- packets -------------------------------------------------------------------------------


@pytest.mark.parametrize("stacked", [1, 5])
async def test_packets_may_share_a_frame(
    feed: Feed, control: SimulatorControl, config: BrokerConfig, stacked: int
) -> None:
    control.set_variant(STACKED, stacked)
    await feed.listener.subscribe([INFY, SBIN, INDEX])
    await feed.listener.connect()
    await carried(control, config, INFY, SBIN, INDEX)
    await eventually_async(lambda: {tick.symbol for tick in feed.ticks} == {INFY, SBIN, INDEX})
    assert feed.listener.health_check().bad_frames == 0


# --- order updates -------------------------------------------------------------------------


async def connected_for_orders(control: SimulatorControl, config: BrokerConfig) -> None:
    await eventually_async(lambda: control.connections("order_feed").get(config.client_id) == 1, timeout=10)


@pytest.mark.parametrize("keys", ["camel", "pascal"])
async def test_order_updates_in_either_case(
    feed: Feed, control: SimulatorControl, config: BrokerConfig, keys: str
) -> None:
    control.set_variant(ALERT_KEYS, keys)
    await feed.listener.connect()
    await connected_for_orders(control, config)
    order_id = control.place_order(config.client_id, INFY, "SELL", 3, "NRML", tag="HELLO1")
    await eventually_async(lambda: any(order.status is OrderStatus.FILLED for order in feed.orders))
    assert {(o.order_id, o.tag, o.symbol, o.product) for o in feed.orders} == {
        (order_id, "HELLO1", INFY, "NRML")
    }


async def test_trouble_with_order_updates_leaves_the_feed_alone(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.subscribe([INFY])
    await feed.listener.connect()
    await connected_for_orders(control, config)
    assert control.drop(config.client_id, role="order_feed") == 1
    control.set_price(INFY, "1501")
    await eventually_async(lambda: feed.price(INFY) == 1501)
    await connected_for_orders(control, config)
    assert feed.disconnects == []
    assert feed.errors == []


async def test_both_sockets_end_together(feed: Feed, control: SimulatorControl, config: BrokerConfig) -> None:
    await feed.listener.connect()
    await connected_for_orders(control, config)
    await feed.listener.disconnect()
    await eventually_async(lambda: not control.connections().get(config.client_id))
    await eventually_async(lambda: not control.connections("order_feed").get(config.client_id))


async def test_a_new_token_serves_both_sockets(
    feed: Feed, control: SimulatorControl, config: BrokerConfig
) -> None:
    await feed.listener.connect()
    await connected_for_orders(control, config)
    fresh = control.mint_token(config.client_id)
    control.drop(config.client_id, role="order_feed")
    control.drop(config.client_id)
    await eventually_async(lambda: feed.state is ListenerState.LOGIN_NEEDED)
    await feed.listener.use_config(replace(config, access_token=Secret(fresh)))
    assert feed.listener.is_connected
    await connected_for_orders(control, config)


async def test_the_token_is_not_printed(
    feed: Feed, control: SimulatorControl, config: BrokerConfig, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    await feed.listener.connect()
    await connected_for_orders(control, config)
    control.kill_token(config.client_id)
    control.drop(config.client_id, role="order_feed")
    control.drop(config.client_id)
    await eventually_async(lambda: feed.state is ListenerState.LOGIN_NEEDED)
    printed = capfd.readouterr()
    said = caplog.text + repr(feed.errors) + printed.out + printed.err
    assert "order updates" in said
    assert config.access_token.reveal() not in said
