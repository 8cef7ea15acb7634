"""Breaches that the database would not take, kept in a file until it does.

The file has its full length from the start: what is written later needs no free space on the
disk. Every change is on the disk before the call returns.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from strategies.domain.breaches import Intent

logger = logging.getLogger(__name__)

SIZE = 1 << 20


class Spool:
    """Intents to exit that are not committed yet. Safe to lose only once they are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[tuple[int, int], Intent] = {}

    @property
    def size(self) -> int:
        """How many intents wait in it."""
        return len(self._kept)

    def load(self) -> list[Intent]:
        """Make the file ready and return what earlier processes left: in it, or under names of their own.

        Raises:
            OSError: The file cannot be written.

        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._kept = {(i.strategy_id, i.epoch): i for i in _intents(_text(self._path))}
        with self._path.open("r+b" if self._path.exists() else "w+b") as file:
            os.posix_fallocate(file.fileno(), 0, SIZE)
            os.fsync(file.fileno())
        others = [path for path in self._path.parent.glob(f"*{self._path.suffix}") if path != self._path]
        found = [intent for path in sorted(others) for intent in _intents(_text(path))]
        return [*self._kept.values(), *(i for i in found if (i.strategy_id, i.epoch) not in self._kept)]

    def keep(self, intents: Iterable[Intent]) -> None:
        """Add intents. Raises ``OSError`` when they cannot be kept."""
        self._kept |= {(intent.strategy_id, intent.epoch): intent for intent in intents}
        self._write()

    def drop(self, intents: Iterable[Intent]) -> None:
        """Take out intents that are committed, or gone."""
        kept = [self._kept.pop((intent.strategy_id, intent.epoch), None) for intent in intents]
        if any(kept):
            self._write()

    def _write(self) -> None:
        text = "".join(json.dumps(asdict(intent)) + "\n" for intent in self._kept.values()).encode()
        if len(text) >= SIZE:
            raise OSError(f"{self._path} is full: {len(self._kept)} breaches wait for the database")
        with self._path.open("r+b") as file:
            file.write(text + b"\0")
            file.flush()
            os.fdatasync(file.fileno())


def _text(path: Path) -> str:
    return path.read_bytes().partition(b"\0")[0].decode(errors="replace") if path.exists() else ""


def _intents(text: str) -> Iterable[Intent]:
    for line in text.splitlines():
        try:
            yield Intent(**json.loads(line))
        except (ValueError, TypeError):
            logger.exception("a line of the breach spool cannot be read: %r", line)
