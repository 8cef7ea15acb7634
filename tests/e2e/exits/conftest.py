"""One simulator for all of these tests; each has an account of its own there, at either broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pytest_django import Settings

from marketdata.brokers import registry
from marketdata.simulator.control import SimulatorControl
from strategies.domain import sentences, steps, trying
from tests.support.processes import Process, manage
from tests.support.simulator import RunningSimulator, start_simulator
from tests.support.trader import INFY, Listeners, Trader, endpoints


@pytest.fixture(scope="package")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    with start_simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def control(exchange: RunningSimulator, settings: Settings) -> Iterator[SimulatorControl]:
    """The exchange as it was in the morning: no faults, no limits, 1,500 rupees for a share of INFY."""
    settings.BROKER_ENDPOINTS = endpoints(exchange)
    settings.SIMULATED_BROKERS = frozenset(registry.BROKERS)
    control = exchange.control
    control.set_book(INFY)
    control.set_price(INFY, "1500")
    yield control
    control.clear_faults()
    control.enforce_limits(on=False)
    control.set_matching_delay(0.005)


@pytest.fixture(params=registry.BROKERS)
def trader(request: pytest.FixtureRequest, control: SimulatorControl, transactional_db: None) -> Trader:
    return Trader.join(str(request.param), control)


@pytest.fixture
def listeners(exchange: RunningSimulator, lock_dir: Path, trader: Trader) -> Iterator[Listeners]:
    """Start ``run_listeners``, a process of its own."""
    with ExitStack() as stack:

        def start() -> Process:
            env = {**exchange.env, "REDIS_URL": "", "LOCK_DIR": str(lock_dir)}
            process = stack.enter_context(manage("run_listeners", env=env))
            process.wait_for("running", 60)
            return process

        yield start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the patience with an order that rests, and as much less between two looks."""
    monkeypatch.setattr(trying, "REPRICE_S", tuple(seconds / 10 for seconds in trying.REPRICE_S))
    monkeypatch.setattr(sentences, "RESTING_S", sentences.RESTING_S / 10)
    monkeypatch.setattr(steps, "POLL_S", 0.2)
