"""However long a broker is away its feed is tried, and with a dead token it is left alone."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from marketdata.clock import SystemClock
from marketdata.domain.feed import ListenerState
from marketdata.domain.ticks import FeedMode
from marketdata.instruments import InstrumentBook
from marketdata.ports import BrokerAdapter, BrokerConfig
from marketdata.secret import Secret
from marketdata.simulator.control import SimulatorControl
from tests.contract.conftest import Feed, heard
from tests.contract.feeding import INFY, carried
from tests.support.waiting import eventually_async

logger = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(90)
REFUSALS = 200


class HurriedClock(SystemClock):
    """Its seconds pass ``pace`` times as fast, for whoever sleeps and whoever measures."""

    pace = 1000.0

    def __init__(self) -> None:
        self._since, self._then = time.monotonic(), time.monotonic()

    def monotonic(self) -> float:
        return self._then + (time.monotonic() - self._since) * self.pace

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.pace)

    def calm_down(self) -> None:
        """Go on at the pace of life."""
        self._then, self._since = self.monotonic(), time.monotonic()
        self.pace = 1.0


class Longest(random.Random):
    """Draws the longest wait that may be drawn."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.fixture
def clock() -> HurriedClock:
    return HurriedClock()


@pytest.fixture
async def patient(
    adapter: BrokerAdapter, config: BrokerConfig, book: InstrumentBook, clock: HurriedClock
) -> AsyncIterator[Feed]:
    """A listener in a hurry, not yet connected, that wants one instrument."""
    listener = adapter.listener_class(1, config, tokens=book, clock=clock, rng=Longest())
    await listener.subscribe([INFY], FeedMode.FULL)
    yield heard(listener)
    await listener.disconnect()


def handshakes(control: SimulatorControl) -> int:
    counters = control.counters()
    return sum(counters.get(f"handshakes.{how}", 0) for how in ("accepted", "refused"))


async def test_after_two_hundred_refusals_it_is_back_within_twenty_seconds(
    patient: Feed, control: SimulatorControl, config: BrokerConfig, broker: str, clock: HurriedClock
) -> None:
    control.fault("refuse", broker=broker, times=REFUSALS)
    back_at: list[float] = []

    def count(_: Exception) -> None:
        if len(patient.errors) == REFUSALS:  # the broker takes connections again, and the wait only begins
            clock.calm_down()
            back_at.append(time.monotonic())

    patient.listener.register_callback("on_error", count)
    await patient.listener.connect()
    await eventually_async(lambda: back_at, timeout=60)
    await eventually_async(lambda: patient.listener.is_connected, timeout=20)
    await carried(control, config, INFY)
    took_s = time.monotonic() - back_at[0]
    logger.warning("%s: carried again %.1f s after the broker was back", broker, took_s)
    assert took_s <= 20
    assert patient.listener.reconnect_attempts == 0


async def test_a_dead_token_makes_at_most_three_handshakes_a_minute(
    patient: Feed, control: SimulatorControl, config: BrokerConfig, broker: str, clock: HurriedClock
) -> None:
    clock.pace = 30.0
    control.kill_token(config.client_id)
    before, began = handshakes(control), clock.monotonic()
    await patient.listener.connect()
    await eventually_async(lambda: clock.monotonic() - began > 120, timeout=10)
    made = handshakes(control) - before
    logger.warning("%s: %d handshakes with a dead token in two minutes", broker, made)
    assert made <= 3
    assert patient.state is ListenerState.LOGIN_NEEDED
    clock.calm_down()
    token = Secret(control.mint_token(config.client_id))
    await patient.listener.use_config(replace(config, access_token=token))
    await eventually_async(lambda: patient.listener.is_connected)
    await carried(control, config, INFY)
