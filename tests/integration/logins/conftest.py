"""Accounts whose broker is the simulator, and who looks at them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from marketdata.brokers import registry
from marketdata.models import BrokerAccount
from marketdata.simulator.control import SimulatorControl
from tests.support.logins import (
    new_account,
)
from tests.support.people import new_user
from tests.support.simulator import RunningSimulator, start_simulator


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    with start_simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def control(running: RunningSimulator) -> Iterator[SimulatorControl]:
    yield running.control
    running.control.clear_faults()


@pytest.fixture(autouse=True)
def endpoints(running: RunningSimulator, settings: Settings) -> None:
    settings.BROKER_ENDPOINTS = {
        name: {role: running.env[endpoint.variable] for role, endpoint in registry.endpoints(name).items()}
        for name in registry.BROKERS
    }


@pytest.fixture(params=registry.BROKERS)
def account(request: pytest.FixtureRequest, user: User, control: SimulatorControl) -> BrokerAccount:
    return new_account(user, control, request.param)


@pytest.fixture
def kite(user: User, control: SimulatorControl) -> BrokerAccount:
    return new_account(user, control, "zerodha")


@pytest.fixture
def dhan(user: User, control: SimulatorControl) -> BrokerAccount:
    return new_account(user, control, "dhan")


@pytest.fixture
def owner(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


@pytest.fixture
def stranger(user: User) -> Client:
    client = Client()
    client.force_login(new_user("stranger"))
    return client
