"""Which database the tests run on: ``TEST_DATABASE`` is ``sqlite`` (default) or ``postgres``.

The test database is shared with the processes a test starts, so it is a SQLite file, never
memory, or a database of a PostgreSQL that runs for this test run alone.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from tests.support.postgres import PROGRAMS, PrivatePostgres

CHOSEN = os.environ.get("TEST_DATABASE", "sqlite")
if CHOSEN not in ("sqlite", "postgres"):
    raise SystemExit(f"TEST_DATABASE={CHOSEN!r}: expected sqlite or postgres")
ON_POSTGRES = CHOSEN == "postgres"
IS_MISSING = ON_POSTGRES and PROGRAMS is None
"""PostgreSQL was asked for and is not installed: no test of this run can run."""


ALIKE = (
    "test_admin.py", "test_api_", "test_alerts_of_the_process.py", "test_health.py", "test_importing.py", "test_live_", "test_manager.py",
    "test_postgres_support.py", "test_database_thread.py",
    "test_isolation.py", "test_judged_by_quotes.py", "test_run_listeners.py", "test_storage.py", "test_viewers.py",
)  # fmt: skip
"""Files of slow tests that only read and write rows, or that choose their databases themselves."""


_servers: list[PrivatePostgres] = []


def server() -> PrivatePostgres:
    """Return the PostgreSQL of this test run, for a test that is ``only_postgres``."""
    [running] = _servers
    return running


@contextmanager
def in_trouble() -> Iterator[PrivatePostgres]:
    """Lend the server of this test run to a test that breaks it: it is back afterwards.

    Connections that broke are closed, in this thread and in the one that async tests ask from.
    """
    running = server()
    try:
        yield running
    finally:
        running.thaw()
        if not running.is_running:
            running.start()
        forget_connections()


def forget_connections() -> None:
    """Close every connection that a later test could meet."""
    connections.close_all()
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()


def prepare(scratch: Path) -> str:
    """Return the ``DATABASE_URL`` of this test run; a server for it runs until the run ends."""
    if IS_MISSING or not ON_POSTGRES:
        return f"sqlite:///{scratch / 'tests.sqlite3'}"
    started = PrivatePostgres(durable=False)
    _servers.append(started)
    atexit.register(_close, started, os.getpid())
    return started.url("tickguard")


def is_wanted(item: pytest.Item) -> bool:
    """Tell whether a test is to run on the chosen database: each has tests of its own."""
    if not ON_POSTGRES:
        return item.get_closest_marker("only_postgres") is None
    return _is_worth_repeating(item) and item.get_closest_marker("only_sqlite") is None


def _is_worth_repeating(item: pytest.Item) -> bool:
    """Tell whether a test has more to say: integration tests that use a database, and those marked."""
    if any(item.get_closest_marker(name) for name in ("both_databases", "only_postgres")):
        return True
    folders = item.path.parts
    if "integration" not in folders or "logins" in folders or item.path.name.startswith(ALIKE):
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    return bool(fixtures & {"db", "transactional_db"}) or item.get_closest_marker("django_db") is not None


def _close(started: PrivatePostgres, owner: int) -> None:
    if os.getpid() == owner:  # not in a child that was forked
        started.close()
