"""Exits while another process keeps SQLite from being written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings

from tests.support.exits import ended, running, tick
from tests.support.processes import Process, python
from tests.support.stopwatch import Stopwatch
from tests.support.waiting import eventually_async

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.only_sqlite]

HOLDER = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN " + sys.argv[2])
database.execute("SELECT count(*) FROM strategies_strategy").fetchall()
print("held")
time.sleep(60)
"""


@contextmanager
def held(how: str) -> Iterator[Process]:
    """Have another process hold a transaction of a kind on the test database."""
    with python("-c", HOLDER, str(settings.DATABASES["default"]["NAME"]), how) as holder:
        holder.wait_for("held")
        yield holder


async def test_a_lock_that_lasts_delays_the_exit_and_a_person_is_told_in_time(strategy, broker, told):
    async with running(broker, told) as engine:
        with held("IMMEDIATE"):
            watch, breached = Stopwatch(), time.monotonic()
            engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
            await eventually_async(lambda: any("database" in text for text in told.alerts()), 10)
            assert time.monotonic() - breached >= 2
            took = watch.seconds()
            assert not broker.book  # nothing leaves without its permit
        await ended()
    assert len(broker.book) == 1
    assert took < 4


async def test_a_report_that_reads_for_long_holds_up_no_exit(strategy, broker, told):
    async with running(broker, told) as engine:
        with held("DEFERRED") as reader:
            engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
            await ended(timeout=5)
            assert reader.returncode is None
    assert len(broker.book) == 1
    assert not any("database" in text for text in told.alerts())
