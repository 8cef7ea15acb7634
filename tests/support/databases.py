"""Which database the tests run on: ``TEST_DATABASE`` is ``sqlite`` (default) or ``postgres``.

The test database is shared with the processes a test starts, so it is a SQLite file, never
memory, or a database of a PostgreSQL that runs for this test run alone.
"""

from __future__ import annotations

import atexit
import os
from pathlib import Path

import pytest

from tests.support.postgres import PROGRAMS, PrivatePostgres

CHOSEN = os.environ.get("TEST_DATABASE", "sqlite")
if CHOSEN not in ("sqlite", "postgres"):
    raise SystemExit(f"TEST_DATABASE={CHOSEN!r}: expected sqlite or postgres")
ON_POSTGRES = CHOSEN == "postgres"
IS_MISSING = ON_POSTGRES and PROGRAMS is None
"""PostgreSQL was asked for and is not installed: no test of this run can run."""


ELSEWHERE = ("test_page.py", "test_price_walks.py", "test_whole_house_")
"""Files whose tests are about the page or the demo: the database makes no difference to them."""


def prepare(scratch: Path) -> str:
    """Return the ``DATABASE_URL`` of this test run; a server for it runs until the run ends."""
    if IS_MISSING or not ON_POSTGRES:
        return f"sqlite:///{scratch / 'tests.sqlite3'}"
    server = PrivatePostgres(durable=False)
    atexit.register(_close, server, os.getpid())
    return server.url("tickguard")


def is_wanted(item: pytest.Item) -> bool:
    """Tell whether a test is to run on the chosen database: each has tests of its own."""
    if not ON_POSTGRES:
        return item.get_closest_marker("only_postgres") is None
    return is_worth_repeating(item) and item.get_closest_marker("only_sqlite") is None


def is_worth_repeating(item: pytest.Item) -> bool:
    """Tell whether a test says something else on another database: it uses one, and is no page test."""
    fixtures = set(getattr(item, "fixturenames", ()))
    uses_it = bool(fixtures & {"db", "transactional_db"}) or item.get_closest_marker("django_db") is not None
    return uses_it and not item.path.name.startswith(ELSEWHERE)


def _close(server: PrivatePostgres, owner: int) -> None:
    if os.getpid() == owner:  # not in a child that was forked
        server.close()
