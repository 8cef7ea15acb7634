"""Two to 64 processes after the same breach, without lease and lock: one intent, one plan, one permit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

import pytest

from marketdata.models import BrokerAccount, Instrument
from strategies.models import Exit, ExitOrder, Strategy
from tests.support.processes import python

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def arm(account: BrokerAccount, instruments: Mapping[str, Instrument]):
    def arm(rounds: int) -> None:
        common = {"user": account.user, "account": account, "instrument": instruments["NSE:INFY"]}
        Strategy.objects.bulk_create(
            Strategy(
                **common, position="BOUGHT", product="MIS", quantity=1, stop_loss=Decimal(1500),
                status="active", epoch=1,
            )
            for _ in range(rounds)
        )  # fmt: skip

    return arm


@pytest.mark.parametrize("level", ["intent", "plan", "permit"])
@pytest.mark.parametrize(("processes", "rounds"), [(2, 20), (64, 2)])
def test_of_many_one_wins(arm, level: str, processes: int, rounds: int) -> None:
    arm(rounds)
    with python("-m", "tests.support.breach_racers", level, str(processes)) as race:
        assert race.wait(55) == 0, race.output
        won = json.loads(race.lines[-1])
    assert won == [1] * rounds
    assert Exit.objects.count() == rounds
    orders = ExitOrder.objects.all()
    assert orders.count() == (0 if level == "intent" else rounds)
    assert orders.filter(state="sending").count() == (rounds if level == "permit" else 0)
