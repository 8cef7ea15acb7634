"""What is asked of the database before real money depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from project import storage
from project.database import configured
from project.storage import Trouble, Weight, troubles
from tests.support.postgres import PrivatePostgres, needs_postgres, private_postgres
from tests.support.processes import manage

pytestmark = pytest.mark.django_db
LIVE = {"LIVE_TRADING": "1", "KITE_API_ROOT": "https://broker.invalid"}  # refused before it is called


@contextmanager
def connected(url: str) -> Iterator[BaseDatabaseWrapper]:
    database = ConnectionHandler({"default": configured(environ.Env.db_url_config(url))})["default"]
    try:
        yield database
    finally:
        database.close()


def grave(url: str) -> list[Trouble]:
    with connected(url) as database:
        return [trouble for trouble in troubles(database) if trouble.weight is not Weight.NOTHING]


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 't.sqlite3'}"


def saying(url: str, pragmas: str) -> str:
    return f"{url}?init_command={quote(pragmas)}"


def session(url: str, options: str) -> str:
    return f"{url}?options={quote(options)}"


def test_sqlite_as_it_is_set_up_keeps_what_it_committed(sqlite: str) -> None:
    assert grave(sqlite) == []


@pytest.mark.parametrize("value", ["OFF", "NORMAL"])
def test_a_sqlite_that_may_forget_is_named_with_its_value(sqlite: str, value: str) -> None:
    [trouble] = grave(saying(sqlite, f"PRAGMA journal_mode=WAL; PRAGMA synchronous={value};"))
    assert f"synchronous={value}" in str(trouble)
    assert "needed: FULL" in str(trouble)
    assert "DATABASE_URL" in trouble.remedy
    assert trouble.weight is Weight.REAL_ORDERS


def test_a_sqlite_without_a_write_ahead_log_is_named(sqlite: str) -> None:
    [trouble] = grave(saying(sqlite, "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=EXTRA;"))
    assert "journal_mode is truncate" in str(trouble)


def test_a_sqlite_that_can_only_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "t.sqlite3"
    with connected(f"sqlite:///{file}") as writer, writer.cursor() as cursor:
        cursor.execute("CREATE TABLE t (n int)")
        config = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"file:{file}?mode=ro"}
        options = {"uri": True, "init_command": "PRAGMA synchronous=FULL"}
        reader = ConnectionHandler({"default": configured({**config, "OPTIONS": options})})["default"]
        found = [trouble for trouble in troubles(reader) if trouble.weight is Weight.EVERYTHING]
        reader.close()
    assert ["can only be read" in str(trouble) for trouble in found] == [True]


def test_a_postgres_as_it_is_set_up_keeps_what_it_committed(postgres: PrivatePostgres) -> None:
    assert grave(postgres.url()) == []
    [off] = grave(session(postgres.url(), "-c synchronous_commit=off"))
    assert "synchronous_commit=off" in str(off)
    assert "needed: on" in str(off)
    [read] = grave(session(postgres.url(), "-c default_transaction_read_only=on"))
    assert "postgres can only be read" in str(read)
    postgres.stop()
    [gone] = grave(postgres.url())
    assert "cannot be used" in str(gone)
    assert gone.weight is Weight.EVERYTHING


@needs_postgres
def test_a_postgres_that_may_forget_is_named_with_its_value() -> None:
    with private_postgres(durable=False, settings={"full_page_writes": "off"}) as careless:
        found = [str(trouble) for trouble in grave(careless.url())]
    assert ["fsync=off" in text for text in found] == [True, False]
    assert ["full_page_writes=off" in text for text in found] == [False, True]
    assert all("postgresql.conf" in text for text in found)


@needs_postgres
def test_a_session_commits_to_the_disk_whatever_the_server_s_default_is() -> None:
    with private_postgres(settings={"synchronous_commit": "off"}) as careless:
        assert grave(careless.url()) == []


def test_another_kind_of_database_is_refused_by_name() -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"mysql is not supported: expected sqlite:///.* or postgres://"
    ):
        configured(environ.Env.db_url_config("mysql://user:secret@host/name"))


# --- the commands -----------------------------------------------------------------------------


@pytest.fixture
def forgetful(sqlite: str, lock_dir: Path) -> dict[str, str]:
    """An installation whose SQLite is set as many recipes have it."""
    url = saying(sqlite, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
    return {"DATABASE_URL": url, "LOCK_DIR": str(lock_dir)}


def test_listeners_refuse_to_start_for_real_money_in_one_line(forgetful: dict[str, str]) -> None:
    with manage("run_listeners", env={**forgetful, **LIVE}) as process:
        assert process.wait() == 1
    [line] = process.lines
    assert "CommandError: SQLite writes with synchronous=NORMAL" in line
    with manage("check", "--deploy", "--tag", "storage", env={**forgetful, **LIVE}) as process:
        assert process.wait() == 1
    assert "project.E003" in process.output


def test_towards_a_simulator_they_only_say_so(forgetful: dict[str, str]) -> None:
    with manage("migrate", env=forgetful) as process:
        assert process.wait(60) == 0, process.output
    with manage("run_listeners", env={**forgetful, "LIVE_TRADING": "1"}) as process:
        process.wait_for("synchronous=NORMAL")
        process.wait_for("are running")
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("is_on", "simulated", "is_live"),
    [(True, {"dhan"}, True), (False, set(), False), (True, {"zerodha", "dhan"}, False)],
)
def test_real_money_needs_the_switch_and_a_real_broker(
    settings: Any, is_on: bool, simulated: set[str], is_live: bool
) -> None:
    settings.LIVE_TRADING, settings.SIMULATED_BROKERS = is_on, frozenset(simulated)
    assert storage.is_live() is is_live
    forgets = Trouble("project.E003", "It forgets", "mend it", Weight.REAL_ORDERS)
    assert forgets.is_refusal is is_live


def test_a_database_that_is_not_there_is_one_line_as_well(lock_dir: Path) -> None:
    env = {"DATABASE_URL": "postgres://tickguard@127.0.0.1:9/none", "LOCK_DIR": str(lock_dir)}
    with manage("run_listeners", env=env) as process:
        assert process.wait() == 1
    [line] = process.lines
    assert "The database cannot be used" in line
    assert "DATABASE_URL" in line
