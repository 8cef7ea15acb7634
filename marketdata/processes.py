"""Other processes of this machine: whether one still runs, and how to end it for certain.

A process id alone names whoever has it now. With the time of its start and the machine (and
the container's own numbering) it names one process for good. All of it is Linux's; elsewhere
no process is known, so none is ever taken for gone or ended.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, never another one: ``started`` is in clock ticks since its machine's start."""

    pid: int
    started: str
    machine: str

    @classmethod
    def own(cls) -> Self:
        """Return this process's."""
        return cls(os.getpid(), _started(os.getpid()) or "-", machine())

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what ``str`` wrote; None when it is something else."""
        words = text.split()
        if len(words) != 3 or not words[0].isdigit():
            return None
        return cls(int(words[0]), words[1], words[2])

    def __str__(self) -> str:
        return f"{self.pid} {self.started} {self.machine}"

    @property
    def is_running(self) -> bool:
        """Tell whether it runs on this machine. A stopped process runs; a zombie does not."""
        return self.machine == machine() and _started(self.pid) == self.started


def boot() -> str:
    """Return the name of this run of this machine: different after each start."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"unknown-{os.uname().nodename}"


def machine() -> str:
    """Return the name of the space in which process ids are unique: a run of a machine or container."""
    try:
        return f"{boot()}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return boot()


def end(process: ProcessId, wait_s: float) -> bool:
    """Kill a process and wait until it is gone; False when it is not, or cannot be known here."""
    if sys.platform != "linux" or process.machine != machine() or process.pid == os.getpid():
        return False
    try:
        handle = os.pidfd_open(process.pid)  # names this process from here on, whoever gets its id
    except ProcessLookupError:
        return True
    try:
        if _started(process.pid) != process.started:
            return True
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    finally:
        os.close(handle)


def _started(pid: int) -> str | None:
    """Return when a process started; None when there is none, or only what is left of one."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()  # the name before it may hold anything
    return None if state in "ZX" else rest[18]
