"""A snapshot in parts: a server refuses a message of more than a megabyte. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from strategies.live.frames import Frame, written

PART_BYTES = 256 * 1024
"""How large a part gets: Daphne, proxies and clients commonly take 1 MiB."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


class _Part:
    """A message that rows are put into while there is room."""

    def __init__(self, kind: str, most: int, names: Iterable[str] = (), **fields: Any) -> None:
        self._kind = kind
        self._most = most
        self._head = _encode(fields)[:-1]
        self._rows: dict[str, list[str]] = {name: [] for name in names}
        self._bytes = len(self._head)  # all ASCII

    def has_room(self, row: str) -> bool:
        return self._bytes + len(row) <= self._most

    def put(self, name: str, row: str) -> None:
        self._rows.setdefault(name, []).append(row)
        self._bytes += len(row) + 1

    def frame(self, *, more: bool) -> Frame:
        lists = "".join(f",{_encode(name)}:[{','.join(rows)}]" for name, rows in self._rows.items())
        return written(self._kind, f'{self._head},"more":{_encode(more)}{lists}}}')


def in_parts(
    at: int, lists: Mapping[str, Iterable[Any]], *, most: int = PART_BYTES, **fields: Any
) -> Iterator[Frame]:
    """Encode a snapshot: a ``snapshot`` with all names and fields, then a ``part`` for each further lot of rows.

    Args:
        at: UNIX milliseconds.
        lists: Rows by the name of their list. A row is never cut.
        most: Bytes of a part.
        fields: Whatever else the snapshot holds.

    """
    part = _Part("snapshot", most, lists, at=at, **fields)
    for name, rows in lists.items():
        for row in map(_encode, rows):
            if not part.has_room(row):
                yield part.frame(more=True)
                part = _Part("part", most, at=at)
            part.put(name, row)
    yield part.frame(more=False)
