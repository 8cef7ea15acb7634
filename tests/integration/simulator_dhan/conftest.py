from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import count

import pytest
from dhanhq import dhanhq

from marketdata.simulator.control import SimulatorControl
from tests.support import simulator_dhan
from tests.support.simulator import RunningSimulator, start_simulator
from tests.support.simulator_dhan import Feed, open_feed

_numbers = count(1)


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    """One simulator for this folder: each test has its own account and leaves no fault behind."""
    with start_simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def control(running: RunningSimulator) -> Iterator[SimulatorControl]:
    before = running.control.variants()
    yield running.control
    running.control.clear_faults()
    running.control.enforce_limits(on=False)
    running.control.set_matching_delay(0.005)
    for name, value in before.items():
        running.control.set_variant(name, value)


@pytest.fixture
def account(control: SimulatorControl) -> dict[str, str]:
    return control.create_account(f"11{next(_numbers):08d}")


@pytest.fixture
def dhan(running: RunningSimulator, account: dict[str, str]) -> dhanhq:
    """The unmodified SDK, logged in."""
    return simulator_dhan.client(running.dhan_api_root, account)


@pytest.fixture
def connect_feed(
    running: RunningSimulator, account: dict[str, str]
) -> Callable[[], AbstractContextManager[Feed]]:
    return partial(open_feed, running.dhan_feed_root, account)


@pytest.fixture
def feed(connect_feed: Callable[[], AbstractContextManager[Feed]]) -> Iterator[Feed]:
    with connect_feed() as feed:
        yield feed
