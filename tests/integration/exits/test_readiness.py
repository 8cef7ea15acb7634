"""Accounts with armed stops are read before a stop needs them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async

from marketdata.clock import SystemClock
from marketdata.models import BrokerAccount
from strategies.accounts import AccountDesks
from strategies.journal import Journal
from strategies.readiness import Readiness
from strategies.services import start_strategy, stop_strategy
from strategies.workshop import IsTrading, Workshop
from tests.fakes.broker import FakeBroker
from tests.support.exits import make, running
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def second(strategy, instruments) -> int:
    """Another account of the same user with an armed stop."""
    other = BrokerAccount.objects.create(
        user=strategy.user, broker="zerodha", name="Second", client_id="DEMO02",
        api_key="key", api_secret="x", access_token="y",
    )  # fmt: skip
    start_strategy(make(other, instruments["NSE:SBIN"]))
    return other.pk


@asynccontextmanager
async def ready(
    told, brokers: Mapping[int, FakeBroker], is_trading: IsTrading = lambda *_: True
) -> AsyncIterator[tuple[Readiness, Workshop]]:
    clock = SystemClock()
    journal = Journal(told, clock, random.Random(), lambda _: None)
    desks = AccountDesks(lambda config: brokers[config.account_id], clock)
    shop = Workshop(journal, desks, clock, is_trading)
    try:
        yield Readiness(shop, lambda: None), shop
    finally:
        await asyncio.to_thread(shop.close)


async def test_an_armed_account_is_read_and_at_hand_from_the_start(strategy, broker, told):
    async with running(broker, told):
        await eventually_async(lambda: _is(broker.reads >= 2), 10)


async def test_one_that_cannot_be_read_holds_up_no_other(strategy, second, told):
    broken, well = FakeBroker(failing_reads=9), FakeBroker(client_id="DEMO02")
    async with ready(told, {strategy.account_id: broken, second: well}) as (readiness, shop):
        await readiness.look()
        assert (broken.reads, well.reads) == (1, 2)
        assert shop.known_desk(second) is not None


async def test_nothing_is_asked_where_nothing_is_armed_or_no_exchange_is_open(strategy, second, told):
    brokers = {strategy.account_id: FakeBroker(), second: FakeBroker(client_id="DEMO02")}
    async with ready(told, brokers, lambda symbol, _: not symbol.startswith("NSE:")) as (readiness, _):
        await readiness.look()
    await sync_to_async(stop_strategy)(strategy)
    async with ready(told, brokers) as (readiness, _):
        await readiness.look()
    assert [broker.reads for broker in brokers.values()] == [0, 2]


async def _is(what: bool) -> bool:
    return what
