"""Which armed instruments an answer to a request for quotes really covers."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async

from marketdata.clock import SystemClock
from marketdata.domain.orders import Quote
from marketdata.domain.prices import to_units
from marketdata.models import BrokerAccount, Instrument
from strategies.accounts import AccountDesks
from strategies.engine import ExitEngine
from strategies.journal import Journal
from strategies.models import Strategy
from strategies.services import start_strategy
from tests.fakes.broker import FakeBroker
from tests.support.exits import Told

pytestmark = pytest.mark.django_db(transaction=True)
INFY, SBIN = "NSE:INFY", "NSE:SBIN"


def quote(symbol: str, rupees: str) -> Quote:
    return Quote(symbol, to_units(Decimal(rupees)))


@pytest.mark.parametrize(
    ("quoted", "admits", "judged"),
    [
        ([quote(INFY, "1600"), quote(SBIN, "800")], lambda _: True, {INFY, SBIN}),
        ([quote(INFY, "1600")], lambda _: True, {INFY}),
        ([quote(INFY, "1600"), quote(SBIN, "0")], lambda _: True, {INFY}),
        ([], lambda _: True, set()),
        ([quote(INFY, "1600"), quote(SBIN, "800")], lambda found: found.symbol == SBIN, {SBIN}),
    ],
    ids=["all", "one left out", "no price", "nothing", "not admitted"],
)
async def test_what_the_answer_leaves_out_is_not_judged(
    account: BrokerAccount,
    instruments: Mapping[str, Instrument],
    quoted: list[Quote],
    admits: Callable[[Quote], bool],
    judged: set[str],
) -> None:
    def arm() -> None:
        for symbol in (INFY, SBIN):
            row = Strategy.objects.create(
                user=account.user, account=account, instrument=instruments[symbol],
                position="BOUGHT", quantity=1, stop_loss=Decimal(1),
            )  # fmt: skip
            start_strategy(row)

    await sync_to_async(arm)()
    broker, clock = FakeBroker(quoted={found.symbol: found for found in quoted}), SystemClock()
    desks = AccountDesks(lambda _: broker, clock)
    engine = ExitEngine(Journal(Told(), clock, random.Random(1), lambda _: None), desks, clock)
    await engine.start()
    try:
        engine.admits = admits
        assert await engine.judge_by_quotes(account.user_id, account.pk) == {
            found.symbol: found.price for found in quoted if found.symbol in judged
        }
    finally:
        await engine.stop()
