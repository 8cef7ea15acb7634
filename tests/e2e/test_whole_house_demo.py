"""`make run`, as a newcomer starts it: in a folder of its own, with nothing set."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from project.demo.dotenv import read
from project.demo.seed import FALLING, OTHER_PLANS, PLANS
from strategies.models import Exit, Strategy
from tests.environment import ROOT, VARIABLES
from tests.support.house import House
from tests.support.ports import free_ports
from tests.support.processes import Process, manage
from tests.support.waiting import eventually

PARTS = ("project", "strategies", "marketdata", "templates")
pytestmark = pytest.mark.timeout(300)

ALL_PLANS = (*PLANS, *OTHER_PLANS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A fresh copy of what the demo needs, whose first choice of ports is nobody else's."""
    for part in PARTS:
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", tmp_path)
    prefer_ports(tmp_path / "project" / "demo" / "dotenv.py")
    return tmp_path


def prefer_ports(source: Path) -> None:
    """Two demos that start at once would choose the same: neither listens yet when the other looks."""
    text = source.read_text()
    for name, port in zip(("CONTROL_PORT", "BROKER_PORT", "REDIS_PORT"), free_ports(3), strict=True):
        text, count = re.subn(rf"^{name} = \d+$", f"{name} = {port}", text, flags=re.MULTILINE)
        assert count == 1, name
    source.write_text(text)


@contextmanager
def make_run(folder: Path, **variables: str) -> Iterator[Process]:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    env = {**clean, "PORT": str(free_ports(1)[0]), **variables}
    with Process([sys.executable, "-u", "-m", "project.demo"], env, folder) as process:
        try:
            yield process
        finally:
            if process.returncode is None:  # its own children are in sessions of their own
                process.stop(30)


def started(process: Process) -> dict[str, int]:
    """Return the pids by name, as the demo prints them."""
    lines = [line.split("| ", 1)[1].split() for line in process.lines if " started (pid=" in line]
    return {name: int(pid.removeprefix("(pid=").removesuffix(")")) for name, _, pid in lines}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_prints_the_address_and_the_login_and_ends_cleanly(folder: Path) -> None:
    with make_run(folder) as process:
        url = process.wait_for(" open ", 120).split()[-1]
        password = process.wait_for(" password ", 30).split()[-1]
        assert password == read(folder / ".env")["DEMO_PASSWORD"]
        with build_opener(ProxyHandler({})).open(url, timeout=10) as answer:
            assert "/accounts/login/" in answer.url
        process.wait_for("feed connected", 60)
        pids = started(process)
        assert set(pids) == {"redis", "simulator", "listeners", "web", "demo"}
        process.send(signal.SIGINT)
        assert process.wait(60) == 0
        assert eventually(lambda: not any(map(is_alive, pids.values())), 20)


def test_one_dead_process_ends_all_with_an_error(folder: Path) -> None:
    with make_run(folder) as process:
        process.wait_for(" password ", 120)
        pids = started(process)
        os.kill(pids["listeners"], signal.SIGKILL)
        assert process.wait(60) == 1
        assert eventually(lambda: not any(map(is_alive, pids.values())), 20)


def test_killed_it_leaves_nothing_running(folder: Path) -> None:
    with make_run(folder) as process:
        process.wait_for(" password ", 120)
        pids = started(process)
        os.kill(process.pid, signal.SIGKILL)
        assert eventually(lambda: process.returncode) == -signal.SIGKILL
        assert eventually(lambda: not any(map(is_alive, pids.values())), 20)


def test_with_its_reader_gone_it_ends(folder: Path) -> None:
    with make_run(folder) as process:
        process.wait_for(" password ", 120)
        pids = started(process)
        process.stop_reading()
        assert process.wait(60) == 0  # at the listeners' next line
        assert eventually(lambda: not any(map(is_alive, pids.values())), 20)


def test_real_brokers_are_left_alone(folder: Path) -> None:
    (folder / ".env").write_text("SECRET_KEY=real\nLIVE_TRADING=1\n")
    with make_run(folder) as process:
        assert process.wait(30) == 2
        assert "real broker" in process.output
        assert len(process.lines) == 1
    assert not (folder / "tickguard.sqlite3").exists()


def test_its_stop_is_touched_and_the_exit_fills(house: House) -> None:
    house.listeners().wait_for("running")
    url = house.web()
    with manage("demo", "--url", url, "--fall-after", "2", env=house.env) as process:
        process.wait_for("exit done", 120)
        assert process.stop() == 0
    assert Exit.objects.get().strategy.name == FALLING.name
    assert Strategy.objects.filter(status="active").count() == len(ALL_PLANS) - 1
    assert [order["status"] for order in house.simulator.control.ledger()] == ["complete"]


def test_a_second_start_arms_the_same_strategies_again(house: House) -> None:
    url = house.web()
    for _ in range(2):
        with manage("demo", "--url", url, "--fall-after", "60", env=house.env) as process:
            process.wait_for("stop      Ctrl-C", 120)
            assert process.stop() == 0
    assert Strategy.objects.filter(status="active").count() == len(ALL_PLANS)
    assert Strategy.objects.count() == len(ALL_PLANS)
