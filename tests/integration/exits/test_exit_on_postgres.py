"""Exits while PostgreSQL dies, comes back, and loses commits or the answers to them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from strategies.models import Exit, ExitOrder
from strategies.services import start_strategy
from strategies.spool import Spool
from tests.support import databases
from tests.support.commit_cutter import commit_cutter
from tests.support.exits import ended, make, running, tick
from tests.support.postgres import PrivatePostgres
from tests.support.stopwatch import Stopwatch
from tests.support.waiting import eventually_async

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.only_postgres]


@pytest.fixture
def server(transactional_db: None) -> Iterator[PrivatePostgres]:
    """The server that the test runs on; it is back afterwards, and broken connections are gone."""
    with databases.in_trouble() as running_server:
        yield running_server


async def forget_connections() -> None:
    """Close those of the thread that async tests ask from: they broke when the server died."""
    await sync_to_async(connections.close_all)()


COUNT = 25


def complains(told) -> bool:
    return any("database" in text for text in told.alerts())


async def test_killed_at_the_breach_it_is_told_and_the_exit_leaves_once_it_is_back(
    server, strategy, broker, told
):
    async with running(broker, told) as engine:
        server.kill()
        watch = Stopwatch()
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: complains(told), 10)
        took = watch.seconds()
        assert not broker.book
        server.start()
        await forget_connections()
        await ended()
    assert len(broker.book) == 1
    assert took < 3


async def test_frozen_at_the_breach_it_is_told_in_time_and_the_exit_leaves_once_it_goes_on(
    server, strategy, broker, told, tmp_path
):
    spool = Spool(tmp_path / "breaches")
    async with running(broker, told, spool=spool) as engine:
        server.freeze()
        watch = Stopwatch()
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: complains(told), 10)
        took = watch.seconds()
        assert not broker.book
        assert "NSE:INFY" in (tmp_path / "breaches").read_text()
        server.thaw()
        await ended()
    assert len(broker.book) == 1
    assert took < 3
    assert Spool(tmp_path / "breaches").load() == []


async def test_killed_while_an_order_is_on_its_way_its_answer_is_kept_until_it_is_back(
    server, strategy, broker, told
):
    broker.before_place = server.kill
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: complains(told), 10)
        broker.before_place = lambda: None
        server.start()
        await forget_connections()
        await ended()
    assert len(broker.book) == 1
    assert await ExitOrder.objects.aget() is not None


@contextmanager
def by_way_of(port: int) -> Iterator[None]:
    """Have threads that connect from now on go through ``port``."""
    there = connections.settings["default"]
    connections.settings["default"] = {**there, "PORT": port}
    try:
        yield
    finally:
        connections.settings["default"] = there


@pytest.mark.timeout(200)
async def test_a_commit_whose_outcome_is_unknown_is_looked_up_and_never_assumed(
    server, account, instruments, broker, told
):
    count, seed = COUNT, random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    broker.held = {("NSE:INFY", "MIS"): count}
    for _ in range(count):
        row = await sync_to_async(make)(account, instruments["NSE:INFY"], quantity=1)
        await sync_to_async(start_strategy)(row)
    with commit_cutter(server.port, 0.0, random.Random(seed)) as cutter, by_way_of(cutter.port):
        async with running(broker, told) as engine:
            cutter.share = 0.4
            engine.monitor.on_ticks(account.user_id, [tick("1499.00")])
            await eventually_async(lambda: cutter.lost + cutter.unheard >= 50, 60)
            cutter.share = 0.0
            await eventually_async(settled, 90)
    exit_of = {order.tag: order.exit_id async for order in ExitOrder.objects.all()}
    sent = Counter(exit_of[order.tag] for order in broker.book.values())
    assert set(sent.values()) == {1}  # never two for one exit
    assert broker.held["NSE:INFY", "MIS"] == count - len(broker.book) >= 0
    done = {row.pk async for row in Exit.objects.filter(state="done")}
    assert done <= sent.keys()
    assert len(done) >= count // 2
    assert cutter.lost
    assert cutter.unheard


async def settled() -> bool:
    """Whether each is done, or its permit was committed unheard of: then a person knows, and it is looked for."""
    rows = [row async for row in Exit.objects.all()]
    return len(rows) == COUNT and all(row.state == "done" or row.concern for row in rows)
