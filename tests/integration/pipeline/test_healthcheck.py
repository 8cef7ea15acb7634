"""``manage.py healthcheck`` as a supervisor runs it, with the processes it asks about."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketdata.models import BrokerAccount, Listener
from tests.support.house import House
from tests.support.processes import Process, manage
from tests.support.stopwatch import within
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]
NOBODY = "http://127.0.0.1:9"


class SilentServer:
    """Takes connections as a PostgreSQL and says nothing, as a frozen one does."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._kept: list[socket.socket] = []
        self.url = f"postgres://somebody@127.0.0.1:{server.getsockname()[1]}/tickguard"

    def wait(self) -> None:
        """Return when somebody has connected."""
        self._kept.append(self._server.accept()[0])

    def close(self) -> None:
        for connection in self._kept:
            connection.close()


@pytest.fixture
def silent_server() -> Iterator[SilentServer]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        silent = SilentServer(server)
        yield silent
        silent.close()


def check(*arguments: str, env: dict[str, str]) -> tuple[int, list[str]]:
    """Return the exit code and the lines."""
    with manage("healthcheck", *arguments, env=env) as process:
        return process.wait(), process.lines


def running(house: House, account: BrokerAccount) -> Process:
    BrokerAccount.objects.filter(pk=account.pk).update(desired_state="running")
    listeners = house.listeners("--worker", "w1")
    eventually(lambda: Listener.objects.filter(reported_at__isnull=False).exists(), 20)
    return listeners


def test_nothing_runs(db: None, lock_dir: Path) -> None:
    env = {"LOCK_DIR": str(lock_dir)}
    code, [web, listeners] = check("--url", NOBODY, env=env)
    assert code == 1
    assert f"No web process answers at {NOBODY} (" in web
    assert web.endswith("start it, or give its address with --url.")
    assert (
        listeners == f"No run_listeners runs on this machine (by its lock in LOCK_DIR={lock_dir}): start it."
    )
    assert check("--web", "--url", "nonsense", env=env)[0] == 1


def test_all_is_well_also_without_redis(house: House, account: BrokerAccount) -> None:
    env = dict(house.env)
    running(house, account)
    address = house.web()
    assert check("--url", address, env=env) == (0, ["ok"])
    assert check("--web", "--url", address, env={**env, "ALLOWED_HOSTS": "127.0.0.1"}) == (0, ["ok"])
    house.valkey.kill()
    code, lines = check("--url", address, env=env)
    assert code == 0
    assert lines[0].startswith("caution: Redis does not answer")
    code, lines = check("--web", "--url", f"{address}/nowhere", env=env)
    assert code == 1
    assert "answers 404 to /healthz" in lines[0]


def test_listeners_that_stand_still(house: House, account: BrokerAccount) -> None:
    env = dict(house.env)
    listeners = running(house, account)
    listeners.send(signal.SIGSTOP)
    told = eventually(lambda: [line for line in check("--listeners", env=env)[1] if "reported" in line], 30)
    assert told[0].startswith(f"The listener of zerodha:{account.pk} has not reported for ")
    assert check("--listeners", "--worker", "w1", env=env)[0] == 1
    listeners.send(signal.SIGCONT)
    eventually(lambda: check("--listeners", env=env)[0] == 0, 30)
    listeners.kill()
    assert check("--listeners", env=env)[1][0].startswith("No run_listeners runs")


def test_a_frozen_database_is_told_within_five_seconds(lock_dir: Path, silent_server: SilentServer) -> None:
    with manage("healthcheck", "--web", "--url", NOBODY, env={"DATABASE_URL": silent_server.url}) as process:
        silent_server.wait()  # before it, there is only Python's start
        with within(5, process.pid):
            assert process.wait() == 1
        assert process.lines[1:] == ["The database gives no answer within 2 s: see that it runs."]


def test_a_database_that_is_gone_is_told() -> None:
    url = "postgres://somebody@127.0.0.1:9/tickguard"
    code, lines = check("--web", "--url", NOBODY, env={"DATABASE_URL": url})
    assert code == 1
    assert len(lines) == 2
    assert lines[1].startswith("The database cannot be used (")


def test_listeners_that_run_without_their_database(
    db: None, lock_dir: Path, silent_server: SilentServer
) -> None:
    env = {"LOCK_DIR": str(lock_dir)}
    with manage("run_listeners", env=env) as listeners:
        listeners.wait_for("are running")
        code, lines = check("--listeners", env={**env, "DATABASE_URL": silent_server.url})
    assert (code, lines) == (1, ["The database gives no answer within 2 s: see that it runs."])
