"""A broker's instrument list loaded for somebody at a page: the command runs as a process of its own.

Reading a hundred thousand rows in the web process would make every open page wait. A kernel lock
keeps it to one at a time for each broker, and goes with whoever holds it.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from marketdata.processlock import AlreadyRunning, ProcessLock

logger = logging.getLogger(__name__)

LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class Loading:
    """How the last loading of a list is, or was. ``said``: its last line, empty when there was none."""

    is_running: bool
    said: str


def command(broker: str, account_id: int) -> Sequence[str]:
    """Return the command as a person types it, after Python's own path."""
    return ("manage.py", "import_instruments", broker, "--account", str(account_id))


def begin_loading(broker: str, account_id: int) -> None:
    """Start the command; returns at once.

    Raises:
        AlreadyRunning: It runs for this broker.
        OSError: ``LOCK_DIR`` cannot be written.

    """
    lock = ProcessLock(_path(broker, "lock"))
    lock.acquire()
    threading.Thread(target=_run, args=(lock, broker, account_id), name=f"load-{broker}", daemon=True).start()


def loading_of(broker: str) -> Loading:
    """Return how a broker's loading is."""
    log = _path(broker, "log")
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return Loading(_is_held(_path(broker, "lock")), said)


def _run(lock: ProcessLock, broker: str, account_id: int) -> None:
    nice = (
        [path, "-n", "5"] if (path := shutil.which("nice")) else []
    )  # stops are checked on the same machine
    line = [*nice, sys.executable, "-u", *command(broker, account_id)]
    try:
        with _path(broker, "log").open("w") as log:
            ended = subprocess.run(  # noqa: S603 - our own command, with a broker of ours and a number
                line, cwd=settings.BASE_DIR, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                timeout=LONGEST_S, check=False,
            )  # fmt: skip
        logger.info("the instrument list of %s: import ended with %d", broker, ended.returncode)
    except (OSError, subprocess.TimeoutExpired):
        logger.exception("the instrument list of %s could not be imported", broker)
    finally:
        lock.release()


def _is_held(path: Path) -> bool:
    if not path.exists():
        return False
    lock = ProcessLock(path)
    try:
        lock.acquire()
    except AlreadyRunning:
        return True
    except OSError:  # not ours to write: whoever asks only wants to look
        return False
    lock.release()
    return False


def _path(broker: str, kind: str) -> Path:
    return Path(settings.LOCK_DIR) / f"import-{broker}.{kind}"
