"""A database that stands still or dies makes no owner look silent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.db import connection

from tests.support import databases
from tests.support.leasing import QUICK
from tests.support.postgres import PrivatePostgres
from tests.support.processes import Process, python
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.only_postgres,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("account"),
]

NAME = "tickguard"
LEASES = "SELECT worker, token, expires_at > now() FROM marketdata_lease"


@pytest.fixture
def server() -> Iterator[PrivatePostgres]:
    connection.close()
    with databases.in_trouble() as running:
        yield running


@pytest.fixture
def workers(lock_dir: Path, tmp_path: Path) -> Iterator[list[Process]]:
    """The owner, one that shares its locks, and one that does not: as on another host."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with ExitStack() as stack:

        def start(folder: Path) -> Process:
            return stack.enter_context(python("-m", "tests.support.owner", str(folder)))

        first = start(lock_dir)
        first.wait_for("owns 1")
        others = [start(lock_dir), start(elsewhere)]
        for other in others:
            other.wait_for("owns 0")
        yield [first, *others]


def freeze(server: PrivatePostgres) -> None:
    server.freeze()
    time.sleep(QUICK.lease_s * 2)  # the point: longer than any lease
    server.thaw()


def crash(server: PrivatePostgres) -> None:
    server.kill()
    server.start()


def cut(server: PrivatePostgres) -> None:
    server.cut(NAME)


def said(worker: Process) -> list[str]:
    return [line for line in worker.lines if line.startswith("owns")]


def test_who_owns_before_it_owns_after_it(server: PrivatePostgres, workers: list[Process]) -> None:
    def is_renewed() -> bool:
        with server.connect(NAME) as looking:
            return looking.execute(LEASES).fetchall() == [("other", 1, True)]

    for trouble in (cut, freeze, crash):
        trouble(server)
        eventually(is_renewed, 15)
        time.sleep(QUICK.lease_s * 1.5)  # time to act on what they saw
        assert is_renewed()
        assert [worker.returncode for worker in workers] == [None] * 3
        assert [said(worker) for worker in workers] == [["owns 1"], ["owns 0"], ["owns 0"]]
