"""Messages to pages, encoded once for everybody who is told the same. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Frame:
    """A message that lacks nothing but its number, which is each socket's own."""

    kind: str
    _head: str
    _tail: str

    def numbered(self, seq: int) -> str:
        """Return the text for one socket: two short pieces are joined, nothing is encoded again."""
        return f"{self._head}{seq}{self._tail}"


def frame(kind: str, at: int, **fields: Any) -> Frame:
    """Encode a message.

    Args:
        kind: Its ``type``.
        at: UNIX milliseconds.
        fields: Whatever else it holds.

    """
    return written(kind, json.dumps({"at": at, **fields}, separators=(",", ":")))


def written(kind: str, body: str) -> Frame:
    """Return a message whose other fields are already one encoded object, and not an empty one."""
    return Frame(kind, f'{{"type":{json.dumps(kind)},"seq":', f",{body[1:]}")
