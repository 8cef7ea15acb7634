"""Naming and ending other processes, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from marketdata.processes import ProcessId, end
from marketdata.processlock import AlreadyRunning, ProcessLock, place
from tests.support.processes import Process, python
from tests.support.waiting import eventually

HOLD = (
    "import sys, time; from pathlib import Path; from marketdata.processlock import ProcessLock;"
    "lock = ProcessLock(Path(sys.argv[1])); lock.acquire(); print('locked', flush=True); time.sleep(60)"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "user-1.lock"


@pytest.fixture
def holder(path: Path) -> Iterator[Process]:
    """A process that has the lock at ``path``."""
    with python("-c", HOLD, str(path)) as process:
        process.wait_for("locked")
        yield process


def refusal(path: Path) -> AlreadyRunning:
    with pytest.raises(AlreadyRunning) as caught:
        ProcessLock(path).acquire()
    return caught.value


def test_a_process_is_known_by_more_than_its_id(holder: Process, path: Path) -> None:
    named = refusal(path).holder
    assert named is not None
    assert named.pid == holder.pid
    assert named.is_running
    assert not replace(named, started="1").is_running  # another one with its id
    assert not replace(named, machine="elsewhere").is_running
    assert ProcessId.parse(str(named)) == named


@pytest.mark.parametrize("text", ["", "12", "twelve 1 m", "12 1", "12 1 m more"])
def test_what_is_not_a_name_is_nobodys(text: str) -> None:
    assert ProcessId.parse(text) is None


def runs(process: ProcessId) -> bool:
    return process.is_running


def test_a_stopped_process_runs_and_can_be_ended(holder: Process, path: Path) -> None:
    named = refusal(path).holder
    assert named is not None
    holder.send(signal.SIGSTOP)
    assert runs(named)
    assert end(named, 5)
    assert not runs(named)
    assert holder.wait() == -signal.SIGKILL
    lock = ProcessLock(path)
    lock.acquire()
    lock.release()


def test_one_who_has_anothers_id_is_left_alone(holder: Process, path: Path) -> None:
    named = refusal(path).holder
    assert named is not None
    assert end(replace(named, started="1"), 5)  # that one is gone already
    assert not end(replace(named, machine="elsewhere"), 5)
    assert not end(ProcessId.own(), 5)
    assert holder.returncode is None
    assert end(named, 5)
    assert end(named, 5)


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stat = (Path("/proc") / str(child.pid) / "stat").read_text()
    named = replace(ProcessId.own(), pid=child.pid, started=stat.rpartition(")")[2].split()[19])
    assert runs(named)
    child.communicate(b"\n")
    assert not runs(named)
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    stat_file = Path("/proc") / str(child.pid) / "stat"
    eventually(lambda: stat_file.read_text().rpartition(")")[2].split()[0] == "Z")
    started = stat_file.read_text().rpartition(")")[2].split()[19]
    assert not replace(named, pid=child.pid, started=started).is_running
    child.wait()


# --- the lock -----------------------------------------------------------------------------


def test_it_is_free_the_moment_its_holder_is_killed(holder: Process, path: Path) -> None:
    assert str(holder.pid) in str(refusal(path))
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    lock = ProcessLock(path)
    lock.acquire()
    lock.release()


def test_who_has_let_go_is_not_taken_for_the_next_holder(path: Path) -> None:
    first = ProcessLock(path)
    first.acquire()
    assert path.read_text().split()[0] == str(os.getpid())
    first.release()
    first.release()
    assert path.read_text() == ""


def holds(lock: ProcessLock) -> bool:
    return lock.is_held


def test_a_lock_whose_file_was_removed_is_held_no_longer(path: Path) -> None:
    first, second = ProcessLock(path), ProcessLock(path)
    first.acquire()
    assert holds(first)
    path.unlink()
    assert not holds(first)
    second.acquire()
    assert holds(second)
    first.release()
    assert holds(second)
    second.release()


def test_a_place_is_a_directory_of_one_run_of_a_machine(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    here.mkdir()
    there.mkdir()
    (tmp_path / "link").symlink_to(here)
    assert place(here) == place(tmp_path / "link") != place(there)
