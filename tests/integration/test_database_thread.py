"""What the threads that write exits do when a database does not do its part."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import environ
import pytest
from django.db import OperationalError, connections

from marketdata import precedence as precedence_module
from marketdata.clock import SystemClock
from marketdata.database import DatabaseThread
from marketdata.precedence import Precedence
from project.database import configured
from tests.support.postgres import PrivatePostgres
from tests.support.stopwatch import within

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def default_database(url: str) -> Iterator[None]:
    """Have the threads that start now use another database; this one keeps its own."""
    there = connections.settings["default"]
    here = connections.configure_settings({"default": configured(environ.Env.db_url_config(url))})
    connections.settings["default"] = here["default"]
    try:
        yield
    finally:
        connections.settings["default"] = there


@asynccontextmanager
async def thread(**options: Any) -> AsyncIterator[DatabaseThread]:
    opened = DatabaseThread("test", **options)
    try:
        yield opened
    finally:
        opened.close()


def ask() -> int:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


async def test_threads_that_wait_for_it_share_its_connection(postgres: PrivatePostgres) -> None:
    with default_database(postgres.create("shared")):
        async with thread() as database:
            asking = [asyncio.to_thread(database.call, ask) for _ in range(8)]
            assert len(set(await asyncio.gather(*asking))) == 1
            with pytest.raises(ZeroDivisionError):
                await asyncio.to_thread(database.call, lambda: 1 // 0)


async def test_a_unit_that_can_wait_lets_an_order_go_first_between_its_statements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precedence_module, "HELD_UP_S", 60.0)
    precedence, done = Precedence(SystemClock()), list[str]()

    def unit(name: str) -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT 1")
        done.append(name)

    async with thread() as others, thread(precedence=precedence) as patient:
        await patient.run(unit, "before")
        precedence.begin("order")
        waiting = asyncio.create_task(patient.run(unit, "patient"))
        for _ in range(20):
            await others.run(unit, "other")
        precedence.end("order")
        await waiting
    assert done == ["before", *["other"] * 20, "patient"]


async def test_a_connection_that_was_cut_is_replaced_at_the_next_unit(postgres: PrivatePostgres) -> None:
    with default_database(postgres.create("cut")):
        async with thread() as database:
            first = await database.run(ask)
            assert await database.run(ask) == first
            assert postgres.cut("cut") == 1
            assert await database.run(ask) != first


async def test_a_killed_server_fails_at_once_and_serves_again_when_it_is_back(
    postgres: PrivatePostgres,
) -> None:
    with default_database(postgres.url()):
        async with thread() as database:
            await database.run(ask)
            postgres.kill()
            with within(1):
                for _ in range(3):
                    with pytest.raises(OperationalError):
                        await database.run(ask)
            postgres.start()
            assert await database.run(ask)


async def test_a_frozen_server_holds_a_unit_up_for_a_while_only(postgres: PrivatePostgres) -> None:
    with default_database(postgres.url()):
        async with thread(hang_s=0.4) as database:
            await database.run(ask)
            postgres.freeze()
            unit = asyncio.ensure_future(database.run(ask))
            with pytest.raises(OperationalError):
                await asyncio.wait_for(unit, 10)
            postgres.thaw()
            assert await database.run(ask)


async def test_closing_does_not_wait_for_ever_for_a_frozen_server(postgres: PrivatePostgres) -> None:
    with default_database(postgres.url()):
        database = DatabaseThread("test", hang_s=0.4)
        await database.run(ask)
        postgres.freeze()
        unit = asyncio.ensure_future(database.run(ask))
        await asyncio.sleep(0)  # it is with the thread now
        await asyncio.wait_for(asyncio.to_thread(database.close), 10)
        with pytest.raises(OperationalError):
            await unit
        postgres.thaw()


async def test_a_lock_is_waited_for_as_long_as_the_thread_is_told(tmp_path: Path) -> None:
    file = tmp_path / "t.sqlite3"
    with default_database(f"sqlite:///{file}"):
        async with thread(lock_wait_s=0.2) as database:
            await database.run(write)
            holder = sqlite3.connect(file, isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            with pytest.raises(OperationalError, match="locked"):
                await database.run(write)
            assert 0.15 < time.monotonic() - began < 5
            holder.execute("ROLLBACK")
            holder.close()
            await database.run(write)


def write() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS t (n int)")
        cursor.execute("INSERT INTO t VALUES (1)")
