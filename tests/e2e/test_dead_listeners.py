"""Listeners that die, noticed and told by the web process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone
from websockets.asyncio.client import connect

from marketdata.models import BrokerAccount, Instrument, Listener
from strategies.alerts import commit_alert
from strategies.models import Alert, Strategy
from strategies.services import start_strategy
from tests.support.house import House
from tests.support.live import session_cookie
from tests.support.sink import Sink, sink
from tests.support.stopwatch import Stopwatch
from tests.support.waiting import eventually_async

NOTICED_S = 15
START_S = 90
"""A machine that does other work beside starts a process slowly."""
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def phone() -> Iterator[Sink]:
    with sink() as kept:
        yield kept


@pytest.fixture
def armed(
    house: House, account: BrokerAccount, instruments: Mapping[str, Instrument], phone: Sink
) -> Strategy:
    house.env = {**house.env, "ALERT_URLS": phone.url}
    house.simulator.control.set_price("NSE:INFY", "1500")
    row = Strategy.objects.create(
        user=account.user, account=account, instrument=instruments["NSE:INFY"], name="Infosys swing",
        position="BOUGHT", quantity=10, stop_loss=Decimal(1000),
    )  # fmt: skip
    return start_strategy(row)


def is_connected() -> bool:
    return Listener.objects.filter(state="connected").exists()


def dead() -> Alert | None:
    return Alert.objects.filter(kind="no_listeners", closed_at=None).first()


async def told_to_the_page(
    root: str, cookie: str, heard: list[dict[str, Any]], listens: asyncio.Event
) -> None:
    """Keep every alert that an open page is told of; ``listens`` once it would be."""
    address = root.replace("http", "ws") + "/ws/live/"
    async with connect(address, additional_headers={"Cookie": cookie}, origin=root) as page:  # type: ignore[arg-type]
        async for frame in page:
            message = json.loads(frame)
            if message["type"] == "snapshot":
                listens.set()
            if message["type"] == "alert" and "body" in message:
                heard.append(message["body"])


@pytest.mark.both_databases
async def test_killed_listeners_are_told_of_within_fifteen_seconds_and_it_is_over_when_they_are_back(
    house: House, armed: Strategy, user: User, phone: Sink
) -> None:
    listeners = await sync_to_async(house.listeners)()
    root = await sync_to_async(house.web)()
    await eventually_async(sync_to_async(is_connected), START_S)
    heard: list[dict[str, Any]] = []
    cookie, listens = await sync_to_async(session_cookie)(user), asyncio.Event()
    page = asyncio.create_task(told_to_the_page(root, cookie, heard, listens))
    await asyncio.wait_for(listens.wait(), START_S)
    await eventually_async(sync_to_async(lambda: dead() is None), START_S)  # where they were slow to start

    watch = Stopwatch(house.processes[1].pid)
    await sync_to_async(listeners.kill)()
    await sync_to_async(owed)(user)
    row = await eventually_async(sync_to_async(dead), 40)
    noticed_s = watch.seconds()
    await eventually_async(lambda: [body for body in heard if body["kind"] == "no_listeners"], 20)
    paged_s = watch.seconds()
    await eventually_async(lambda: "listeners have died" in str(phone.posts), 20)
    phoned_s = watch.seconds()
    print(f"killed: row after {noticed_s:.1f} s, page {paged_s:.1f} s, phone {phoned_s:.1f} s")  # noqa: T201
    assert max(noticed_s, paged_s, phoned_s) <= NOTICED_S
    assert (row.user_id, row.urgency) == (user.pk, "urgent")
    assert "Nothing watches your stop." in row.text
    await eventually_async(lambda: "owed by the dead" in str(phone.posts), 20)  # it tells in their place
    assert "hush-hush" not in house.processes[1].output

    await sync_to_async(house.listeners)()
    await eventually_async(sync_to_async(lambda: dead() is None), START_S)
    assert page.done() is False
    page.cancel()
    assert not await Alert.objects.filter(kind="no_listeners", pk__gt=row.pk).aexists()


def owed(user: User) -> None:
    assert commit_alert(user_id=user.pk, kind="needs_human", text="owed by the dead", at=timezone.now())
