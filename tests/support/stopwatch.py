"""How long something took, whatever else the machine had to do meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Stopwatch:
    """Runs from now on.

    Promises of seconds are made for a machine that has a processor for us. A time in which others had
    them all says nothing of the code.

    Args:
        pids: The processes that take part, beside the test's own.

    """

    def __init__(self, *pids: int) -> None:
        self._pids = (os.getpid(), *pids)
        self._queued = queued_s(*self._pids)
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds that passed, less those in which these processes waited for a processor."""
        return time.monotonic() - self._began - self.queued()

    def queued(self) -> float:
        """Return in how many of the seconds that passed they waited for one."""
        return max(0.0, queued_s(*self._pids) - self._queued)


def took(call: Callable[[], object]) -> float:
    """Return how many seconds a call took on the wall."""
    began = time.monotonic()
    call()
    return time.monotonic() - began


@contextmanager
def within(seconds: float, *pids: int) -> Iterator[Stopwatch]:
    """See that the block takes no longer than this, by a `Stopwatch`, which it is given."""
    watch = Stopwatch(*pids)
    yield watch
    took = watch.seconds()
    assert took < seconds, f"took {took:.2f} s, less {watch.queued():.2f} s without a processor"


def queued_s(*pids: int) -> float:
    """Return how many seconds threads of these processes were ready to run and others had the processors."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(map(_queued_s, tasks))


def _queued_s(task: Path) -> float:
    with suppress(OSError):  # it has ended since it was listed
        return int(task.read_text().split()[1]) / 1e9
    return 0.0
