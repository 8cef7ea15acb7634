"""A new token reaches a running feed at once, and no other feed misses a tick meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client

from marketdata.brokers import registry
from marketdata.clock import SystemClock
from marketdata.database import DatabaseThread
from marketdata.domain.gate import ACCEPTED, Decision
from marketdata.domain.prices import to_rupees
from marketdata.domain.ticks import Tick
from marketdata.manager import ListenerManager
from marketdata.models import BrokerAccount, Instrument, ListenerEvent, Subscription
from marketdata.simulator.control import SimulatorControl
from tests.support.logins import through_the_browser, told
from tests.support.waiting import eventually_async

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:No directory at"),
    pytest.mark.timeout(90),
]
MINE, THEIRS = "NSE:INFY", "NSE:SBIN"
TICKS, GAP_S = 400, 0.01


class Pipeline:
    """Keeps every tick: (when, whose, price)."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.taken: list[tuple[float, int, Decimal]] = []

    def accept(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> list[tuple[Tick, Decision]]:
        self.taken += [(self.clock.time(), user_id, to_rupees(tick.price)) for tick in ticks]
        return [(tick, ACCEPTED) for tick in ticks]

    def of(self, user: User) -> list[Decimal]:
        return [price for _, user_id, price in self.taken if user_id == user.pk]


@pytest.fixture(params=registry.BROKERS)
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def listed(broker: str) -> Mapping[str, Instrument]:
    """Two shares as the broker itself lists them."""
    adapter = registry.adapter(broker)
    lines = adapter.instruments.download(None).splitlines(keepends=True)
    rows = [
        Instrument(
            broker=broker, exchange=contract.exchange, tradingsymbol=contract.tradingsymbol,
            token=contract.token, tick_size=contract.tick_size,
        )
        for contract in adapter.instruments.contracts(lines)
        if f"{contract.exchange}:{contract.tradingsymbol}" in (MINE, THEIRS)
    ]  # fmt: skip
    return {row.symbol: row for row in Instrument.objects.bulk_create(rows)}


def watching(control: SimulatorControl, broker: str, name: str, instrument: Instrument) -> BrokerAccount:
    callback = f"http://testserver/brokers/{broker}/callback/"
    made = control.create_account(name.upper(), redirect_url=callback)
    account = BrokerAccount.objects.create(
        user=User.objects.create_user(name), broker=broker, client_id=name.upper(), desired_state="running",
        api_key=made["api_key"], api_secret=made["api_secret"], access_token=made["access_token"],
    )  # fmt: skip
    Subscription.objects.create(account=account, instrument=instrument, holder="strategy:1")
    return account


@pytest.fixture
async def manager() -> AsyncIterator[ListenerManager]:
    database = DatabaseThread("test-logins")
    built = ListenerManager(Pipeline(), database=database)
    task = asyncio.create_task(built.run())
    yield built
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    database.close()


def log_in(account: BrokerAccount) -> str:
    client = Client()
    client.force_login(account.user)
    return told(client, through_the_browser(client, account.pk))


async def test_a_new_token_is_used_at_once_and_nobody_else_notices(
    control: SimulatorControl, broker: str, listed: Mapping[str, Instrument], manager: ListenerManager
) -> None:
    def state(account: BrokerAccount) -> str:
        health: Mapping[str, Any] = manager.get_all_health().get(account.user_id, {})
        return str(next((one.state for one in health.values()), ""))

    pipeline = manager._pipeline
    assert isinstance(pipeline, Pipeline)
    control.set_price(MINE, "1500")
    mine = await sync_to_async(watching)(control, broker, "mine", listed[MINE])
    theirs = await sync_to_async(watching)(control, broker, "theirs", listed[THEIRS])
    await eventually_async(lambda: state(mine) == state(theirs) == "connected", 15)
    await eventually_async(lambda: len(control.subscriptions()) == 2)

    expected = [Decimal(800) + n for n in range(TICKS)]
    playing = asyncio.create_task(asyncio.to_thread(control.play, THEIRS, expected, gap_s=GAP_S))
    await eventually_async(lambda: expected[3] in pipeline.of(theirs.user))
    before = control.counters()
    control.kill_token("MINE", drop=True)
    await eventually_async(lambda: state(mine) == "login_needed", 10)

    control.set_price(MINE, "1495")
    assert (await sync_to_async(log_in)(mine)).startswith("Logged in as MINE until ")
    await eventually_async(lambda: Decimal(1495) in pipeline.of(mine.user), 10)
    await playing
    await eventually_async(lambda: pipeline.of(theirs.user)[-1] == expected[-1], 10)

    event = await ListenerEvent.objects.aget(account=mine, kind="logged_in")
    ticked = next(at for at, user, price in pipeline.taken if user == mine.user_id and price == 1495)
    assert (
        0 < ticked - event.at.timestamp() < 2.5
    )  # a look every 2 s; a hint, where there is Redis, is quicker
    assert [price for price in pipeline.of(theirs.user) if price >= expected[0]][-TICKS:] == expected
    refused = control.counters().get("handshakes.refused", 0) - before.get("handshakes.refused", 0)
    assert refused <= 3
    assert control.counters()["handshakes.accepted"] - before["handshakes.accepted"] <= 2  # mine only
