from __future__ import annotations

import psycopg
import pytest

from tests.support.postgres import PrivatePostgres
from tests.support.waiting import eventually


def test_a_killed_server_comes_back_where_it_was_with_what_it_had_committed(
    postgres: PrivatePostgres,
) -> None:
    with postgres.connect() as before:
        before.execute("CREATE TABLE kept (n int)")
        before.execute("INSERT INTO kept VALUES (7)")
        postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            before.execute("SELECT n FROM kept")
    with pytest.raises(psycopg.OperationalError):
        postgres.connect()
    postgres.start()
    with postgres.connect() as after:
        assert after.execute("SELECT n FROM kept").fetchall() == [(7,)]


def test_frozen_it_does_not_answer_and_thawed_it_goes_on(postgres: PrivatePostgres) -> None:
    with postgres.connect() as connection:
        postgres.freeze()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(postgres.url(), connect_timeout=2)
        postgres.thaw()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_sessions_are_cut_database_by_database(postgres: PrivatePostgres) -> None:
    url = postgres.create()
    name = url.rpartition("/")[2]
    with postgres.connect() as other, psycopg.connect(url) as connection:
        assert postgres.cut(name) == 1
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_it_is_as_durable_as_a_real_one(postgres: PrivatePostgres) -> None:
    with postgres.connect() as connection:
        shown = [
            connection.execute(f"SHOW {name}").fetchone()
            for name in ("fsync", "synchronous_commit", "full_page_writes")
        ]
    assert shown == [("on",)] * 3


def test_it_stops_in_order_and_leaves_nothing(postgres: PrivatePostgres) -> None:
    postgres.stop()
    assert "database system is shut down" in postgres.log
    postgres.start()
    postgres.close()
    assert eventually(lambda: not postgres.folder.exists())
