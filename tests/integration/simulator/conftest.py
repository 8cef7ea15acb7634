from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import count

import pytest
from kiteconnect import KiteConnect

from marketdata.simulator.control import SimulatorControl
from tests.support.simulator import RunningSimulator, start_simulator
from tests.support.simulator_feed import Feed, open_feed

INFY, SBIN, NIFTY = 408065, 779521, 256265
_numbers = count(1)


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    """One simulator for this folder: each test has its own account and leaves no fault behind."""
    with start_simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def control(running: RunningSimulator) -> Iterator[SimulatorControl]:
    yield running.control
    running.control.clear_faults()
    running.control.enforce_limits(on=False)
    running.control.set_matching_delay(0.005)


@pytest.fixture
def account(control: SimulatorControl) -> dict[str, str]:
    return control.create_account(f"TS{next(_numbers):04d}")


@pytest.fixture
def kite(running: RunningSimulator, account: dict[str, str]) -> KiteConnect:
    """The unmodified SDK, logged in."""
    return KiteConnect(account["api_key"], account["access_token"], root=running.api_root, timeout=5)


@pytest.fixture
def connect_feed(
    running: RunningSimulator, account: dict[str, str]
) -> Callable[[], AbstractContextManager[Feed]]:
    return partial(open_feed, running.feed_root, account)


@pytest.fixture
def feed(connect_feed: Callable[[], AbstractContextManager[Feed]]) -> Iterator[Feed]:
    with connect_feed() as feed:
        yield feed
