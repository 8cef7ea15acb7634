"""What happened in one session: a line for everything, and one number for all of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable


class EventLog:
    """Lines with the made-up time. Their hash is the same whenever the same seed is run.

    Args:
        time: Seconds since the session began.
        keep: Keep the lines, to be printed; otherwise only their hash.

    """

    def __init__(self, time: Callable[[], float], *, keep: bool) -> None:
        self._time = time
        self._hash = hashlib.sha256()
        self._keep = keep
        self.lines: list[str] = []
        self.faults: Counter[str] = Counter()

    def write(self, what: str) -> None:
        line = f"{self._time():10.4f} {what}"
        self._hash.update(line.encode())
        if self._keep:
            self.lines.append(line)

    def fault(self, kind: str, detail: str = "") -> None:
        """Write down that something went wrong on purpose."""
        self.faults[kind] += 1
        self.write(f"FAULT {kind} {detail}".rstrip())

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
