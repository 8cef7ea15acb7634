"""A real ``run_listeners`` in a forked child that ends, or stops, itself at one point."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management import CommandError, call_command

from marketdata import crashpoints
from marketdata.secret import Secret
from tests.crash.waits import shorten

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Trap:
    """Where a child gets a signal, which, and the how-manieth time it passes there."""

    point: str
    signal: signal.Signals
    passing: int = 1


@dataclass(frozen=True, slots=True)
class Premises:
    """What the children of one cell share."""

    folder: Path
    alerts_to: str
    factor: float
    leases: float

    @property
    def log(self) -> Path:
        return self.folder / "listeners.log"


class Child:
    """One ``run_listeners``."""

    def __init__(self, premises: Premises, worker: str, trap: Trap | None = None) -> None:
        self.worker = worker
        self.is_stopped = False
        self.exit_code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_live(premises, worker, trap))

    def look(self) -> None:
        """Take note of how it is."""
        if self.exit_code is not None:
            return
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        if not pid:
            return
        if os.WIFSTOPPED(status):
            self.is_stopped = True
        elif os.WIFCONTINUED(status):
            self.is_stopped = False
        else:
            self.exit_code = os.waitstatus_to_exitcode(status)

    @property
    def is_ended(self) -> bool:
        return self.exit_code is not None

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGKILL)
            _, status = os.waitpid(self.pid, 0)
            self.exit_code = os.waitstatus_to_exitcode(status)

    def go_on(self) -> None:
        """Let a stopped one run again."""
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGCONT)
            self.is_stopped = False


def _live(premises: Premises, worker: str, trap: Trap | None) -> int:
    """Be a ``run_listeners``; returns its exit code."""
    _die_with_parent()
    _redirect(premises.log)
    try:
        settings.LOCK_DIR = premises.folder / "locks"
        settings.ALERT_URLS = (Secret(premises.alerts_to),)
        shorten(premises.factor, premises.leases)
        if trap is not None:
            _set(trap)
        call_command("run_listeners", worker=worker)
    except CommandError as exc:
        print(f"CommandError: {exc}", file=sys.stderr, flush=True)  # noqa: T201
        return exc.returncode
    except BaseException:  # noqa: BLE001 - nothing may get back into the parent's code
        traceback.print_exc()
        return 70
    return 0


def _set(trap: Trap) -> None:
    left, lock = [trap.passing], threading.Lock()

    def hook(name: str) -> None:
        if name != trap.point:
            return
        with lock:
            left[0] -= 1
            is_it = left[0] == 0
        if is_it:
            print(f"{trap.signal.name} at {name}", file=sys.stderr, flush=True)  # noqa: T201
            # To this thread: sent to the process, another may take it a moment later.
            signal.pthread_kill(threading.get_ident(), trap.signal)

    crashpoints.install(hook)


def _redirect(log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(file, 1)
    os.dup2(file, 2)


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
