"""Bytes of a server, cut into WebSocket messages as they come.

Prices come as whole binary messages, one after the other. Those are cut out here; all other frames, right or wrong,
are for whoever knows the whole protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct

Message = bytes | str

AT_ONCE = 1 << 18
"""Bytes that are taken from a socket before what they hold is handed on; more only of a longer message.
As many as asyncio itself takes: with fewer, small packets are judged in smaller lots, and each costs more."""
_WHOLE_BINARY = 0x82
"""The first byte: final, no reserved bit, binary."""
_FINAL, _CONTROL, _MASKED = 0x80, 0x08, 0x80
_LENGTH_BYTES = {126: 2, 127: 8}
_HEADER = 2


class Framing:
    """Cuts what was read.

    Args:
        most: Bytes of a plain message; what is longer is judged.
        judge: Given all other frames, each in pieces as they come; False when nothing after them counts.

    """

    def __init__(self, most: int, judge: Callable[[bytes], bool]) -> None:
        self._most = most
        self._judge = judge
        self._buffer = bytearray(AT_ONCE)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._needed = 1  # with fewer bytes than these there is nothing to do
        self._owed = 0  # bytes still to come of the frame that is being judged
        self._is_in_fragments = False

    def room(self) -> memoryview:
        """Return where the next bytes go; none is left when ``head`` has not found its end in ``AT_ONCE``."""
        end = max(self._needed, AT_ONCE)
        if end > len(self._buffer):
            self._buffer = self._buffer.ljust(end, b"\0")
            self._view = memoryview(self._buffer)
        return self._view[self._filled : end]

    def put(self, count: int) -> None:
        """Count the bytes that have come there."""
        self._filled += count

    def head(self, end: bytes) -> bytes | None:
        """Take what there is up to and with ``end``; None: that has not come yet."""
        at = self._buffer.find(end, 0, self._filled)
        return None if at < 0 else self._take(at + len(end))

    def rest(self) -> bytes:
        """Take all there is."""
        return self._take(self._filled)

    def cut(self, messages: list[Message]) -> None:
        """Append the plain messages that are whole; ``judge`` appends its own where they stand."""
        if self._filled < self._needed:
            return
        self._needed, at = 1, 0
        while at < self._filled and self._needed == 1:
            at = self._step(at, messages)
        self._drop(at)

    def _step(self, at: int, messages: list[Message]) -> int:
        """Go on from a place in the buffer; return how far. What waits for bytes says so in ``_needed``."""
        if self._owed:
            return self._give(at, self._owed)
        buffer, start = self._buffer, at + _HEADER
        if start > self._filled:
            return self._wait(at, start)
        length = buffer[at + 1] & ~_MASKED
        if length in _LENGTH_BYTES:
            start += _LENGTH_BYTES[length]
            if start > self._filled:
                return self._wait(at, start)
            length = int.from_bytes(buffer[at + _HEADER : start], "big")
        end = start + length
        if (
            buffer[at] != _WHOLE_BINARY
            or buffer[at + 1] & _MASKED
            or self._is_in_fragments
            or length > self._most
        ):
            self._note_fragment(buffer[at])
            return self._give(at, end - at)
        return self._alike(at, start, end, messages) if end <= self._filled else self._wait(at, end)

    def _alike(self, at: int, start: int, end: int, messages: list[Message]) -> int:
        """Cut out a message, and those after it that have the same header: prices of a kind are of a size."""
        head, size = self._buffer[at:start], end - at
        if self._buffer[end : end + len(head)] != head:
            messages.append(self._view[start:end].tobytes())
            return end
        whole = self._view[at : at + (self._filled - at) // size * size]
        for its_head, payload in _layout(len(head), end - start).iter_unpack(whole):
            if its_head != head:
                break
            messages.append(payload)
            at += size
        return at

    def _give(self, at: int, size: int) -> int:
        """Let what has come of a frame be judged."""
        end = min(at + size, self._filled)
        self._owed = at + size - end
        return end if self._judge(self._view[at:end].tobytes()) else self._filled

    def _note_fragment(self, first: int) -> None:
        if not first & _CONTROL:
            self._is_in_fragments = not first & _FINAL

    def _wait(self, at: int, end: int) -> int:
        self._needed = end - at
        return at

    def _take(self, count: int) -> bytes:
        taken = self._view[:count].tobytes()
        self._drop(count)
        return taken

    def _drop(self, count: int) -> None:
        left = self._filled - count
        self._view[:left] = self._view[count : self._filled]
        self._filled = left


@lru_cache(maxsize=64)
def _layout(head: int, payload: int) -> Struct:
    return Struct(f"{head}s{payload}s")
