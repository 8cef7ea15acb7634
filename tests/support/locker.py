"""A process that locks a file and does nothing more: ``python -m tests.support.locker FILE``."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from marketdata.processlock import ProcessLock

if __name__ == "__main__":
    ProcessLock(Path(sys.argv[1])).acquire()
    print("locked", flush=True)  # noqa: T201
    signal.pause()
