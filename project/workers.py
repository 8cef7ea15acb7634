"""The name of a ``run_listeners`` process, and how many there may be."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

from marketdata.processlock import AlreadyRunning, ProcessLock

_NAME = re.compile(r"[A-Za-z0-9._-]{1,60}")  # with a number behind it, it fits into 64 characters


class BadWorkerName(ValueError):
    """Not usable as the name of a process and of a file."""


def claim(folder: Path, worker: str, *, alone: bool) -> tuple[ProcessLock, str]:
    """Claim a name for as long as the lock is held; a number is added where it is taken.

    Two that go by one name would write over each other's reports. That they can both start
    is meant: a deployment starts the new one before it stops the old one.

    Args:
        folder: The lock directory; it is made.
        worker: The name asked for.
        alone: There may be no other, whatever its name: the database has one writer.

    Raises:
        AlreadyRunning: There is another, and there may not be.
        BadWorkerName: The name cannot be used.
        OSError: The directory cannot be used.

    """
    if not _NAME.fullmatch(worker):
        raise BadWorkerName(
            f"--worker {worker!r} cannot be used: up to 60 letters, digits, dots, hyphens and underscores"
        )
    if alone:
        lock = ProcessLock(folder / "listeners.lock")
        lock.acquire()
        return lock, worker
    names = (worker if number == 1 else f"{worker}-{number}" for number in count(1))
    return next(filter(None, (_named(folder, name) for name in names)))


def _named(folder: Path, name: str) -> tuple[ProcessLock, str] | None:
    lock = ProcessLock(folder / f"worker-{name}.lock")
    try:
        lock.acquire()
    except AlreadyRunning:
        return None
    return lock, name
