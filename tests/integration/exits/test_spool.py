"""A breach that the database does not take: kept in a file, told of, and exited once it can be written."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings

from marketdata.clock import SystemClock
from strategies import workshop
from strategies.domain.breaches import Intent
from strategies.models import Exit
from strategies.spool import SIZE, Spool
from tests.support.exits import ended, running, tick
from tests.support.processes import Process, python
from tests.support.stopwatch import within
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "breaches.spool"


def kept(file: Path) -> list[int]:
    """Return the strategies whose breaches are in the file."""
    text = file.read_bytes().partition(b"\0")[0].decode()
    return [json.loads(line)["strategy_id"] for line in text.splitlines()]


HOLDER = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN IMMEDIATE")
print("held")
time.sleep(120)
"""


@contextmanager
def locked() -> Iterator[Process]:
    """Have another process hold the database's write lock."""
    with python("-c", HOLDER, str(settings.DATABASES["default"]["NAME"])) as holder:
        holder.wait_for("held")
        yield holder


@pytest.mark.only_sqlite
async def test_while_the_database_is_locked_the_breach_is_on_the_disk_and_told(strategy, broker, told, file):
    async with running(broker, told, spool=Spool(file)) as engine:
        with locked():
            with within(4):
                engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
                await eventually_async(lambda: kept(file) == [strategy.pk], 20)
                await eventually_async(lambda: any("cannot be written" in text for text in told.alerts()), 20)
            assert not broker.book
        await ended()
    assert len(broker.book) == 1
    assert kept(file) == []


@pytest.mark.only_sqlite
async def test_while_the_database_stays_locked_it_goes_on_being_told(
    strategy, broker, told, file, monkeypatch
):
    monkeypatch.setattr(workshop, "ALARM_AGAIN_S", 0.2)

    def alarms() -> int:
        return sum("cannot be written" in text for text in told.alerts())

    async with running(broker, told, spool=Spool(file)) as engine:
        with locked():
            engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
            await eventually_async(lambda: alarms() >= 4, 10)
        await ended()
        heard = alarms()
        await asyncio.sleep(0.5)  # the point: more than twice as long as between two of them
        assert alarms() == heard


@pytest.mark.only_sqlite
async def test_what_was_spooled_by_a_process_that_died_is_exited_by_the_next(strategy, broker, told, file):
    with locked():
        script = ("-m", "tests.support.breached", str(file), str(strategy.user_id), "1499.00")
        with python(*script) as process:
            await sync_to_async(process.wait_for)("armed", 30)
            await eventually_async(lambda: kept(file) == [strategy.pk], 10)
            process.kill()
    assert not await Exit.objects.aexists()
    async with running(broker, told, spool=Spool(file)):
        [row] = await ended()
    assert row.evidence["price"] == "1499.00"
    assert len(broker.book) == 1
    assert kept(file) == []


@pytest.mark.only_sqlite
async def test_on_a_full_disk_the_breach_is_kept_where_room_was_made_for_it(strategy, broker, told, file):
    """No file of this process may grow: what a full disk does to a database. The spool has its room already."""
    async with running(broker, told, spool=Spool(file)) as engine:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            with within(4):
                engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
                await eventually_async(lambda: kept(file) == [strategy.pk], 20)
                await eventually_async(lambda: any("cannot be written" in text for text in told.alerts()), 20)
            assert not broker.book
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await ended()
    assert len(broker.book) == 1
    assert kept(file) == []


async def test_a_breach_of_an_earlier_day_is_told_and_sells_nothing(strategy, broker, told, file):
    spool = Spool(file)
    spool.load()
    long_ago = SystemClock().time() - 86_400
    spool.keep(
        [
            Intent(
                strategy.pk, strategy.epoch, strategy.user_id, "NSE:INFY", "stop_loss", 1, 1,
                {"decided_at": long_ago},
            )
        ]
    )  # fmt: skip
    async with running(broker, told, spool=Spool(file)) as engine:
        await eventually_async(lambda: any("on an earlier day" in text for text in told.alerts()), 5)
        assert engine.monitor.armed_count == 1  # it is watched on
    assert not await Exit.objects.aexists()
    assert not broker.book
    assert kept(file) == []


def test_the_file_has_its_room_before_it_is_needed(file):
    Spool(file).load()
    assert file.stat().st_size == SIZE
    assert file.stat().st_blocks * 512 >= SIZE
