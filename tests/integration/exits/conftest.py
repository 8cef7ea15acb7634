from __future__ import annotations

import pytest

from strategies.models import Strategy
from strategies.services import start_strategy
from tests.fakes.broker import FakeBroker
from tests.support.exits import Told, make


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker(held={("NSE:INFY", "MIS"): 100, ("NSE:SBIN", "MIS"): -50})


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def strategy(account, instruments) -> Strategy:
    return start_strategy(make(account, instruments["NSE:INFY"]))
