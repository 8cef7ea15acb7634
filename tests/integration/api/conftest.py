from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from marketdata.models import BrokerAccount, Instrument
from strategies.models import Strategy
from tests.support.api import Program


@pytest.fixture(autouse=True)
def _counts_of_this_test() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def program(user: User) -> Program:
    return Program(user)


@pytest.fixture
def stranger(db: None) -> Program:
    return Program(User.objects.create(username="stranger"))


@pytest.fixture
def strategy(user: User, account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    return Strategy.objects.create(
        user=user, account=account, instrument=instruments["NSE:INFY"], name="Infosys", position="BOUGHT",
        quantity=10, stop_loss=Decimal("1490.00"), entry_price=Decimal("1500.00"),
    )  # fmt: skip
