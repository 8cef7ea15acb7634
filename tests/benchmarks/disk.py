"""What the disk takes by itself: on a shared machine it rests now and then, and every commit with it."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EVERY_S = 0.1


@contextmanager
def watched(folder: Path) -> Iterator[list[float]]:
    """Have one page flushed ten times a second beside the block; the list gets how long each time took, in ms."""
    found: list[float] = []
    over = threading.Event()

    def flush() -> None:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            while not over.wait(EVERY_S):
                os.pwrite(file.fileno(), os.urandom(4096), 0)
                began = time.perf_counter()
                os.fdatasync(file.fileno())
                found.append((time.perf_counter() - began) * 1e3)

    watching = threading.Thread(target=flush, daemon=True)
    watching.start()
    try:
        yield found
    finally:
        over.set()
        watching.join()
