"""Whatever a server sends, in whatever pieces: we read what the library alone would read."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from marketdata.clock import SystemClock
from marketdata.framing import AT_ONCE, Framing, Message
from marketdata.websocket import ConnectionEnded, WebSocket

MOST = 400
_WIDTHS = {126: 2, 127: 8}


class Line(asyncio.Transport):
    """Takes what is written; nothing is paused, for all is read at once."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        raise AssertionError("somebody is waiting")


def frame(first: int, payload: bytes, code: int | None = None, mask: int = 0) -> bytes:
    """Return a server's frame, its length written in the way that ``code`` says."""
    if code is None:
        code = len(payload) if len(payload) < 126 else 126 if len(payload) < 1 << 16 else 127
    length = len(payload).to_bytes(_WIDTHS[code], "big") if code in _WIDTHS else b""
    return bytes((first, code | mask)) + length + payload


payloads = st.binary(max_size=6) | st.sampled_from([125, 126, 200, MOST, MOST + 1]).map(bytes)
plain = payloads.map(lambda payload: frame(0x82, payload))
alike = st.builds(lambda payload, count: frame(0x82, payload) * count, payloads, st.integers(2, 6))
wide = st.builds(frame, st.just(0x82), payloads, st.sampled_from([126, 127]))
texts = st.text(max_size=5).map(lambda text: frame(0x81, text.encode()))
fragments = st.builds(
    lambda kind, parts, between: b"".join(
        frame((kind if not number else 0) | (0x80 if number == len(parts) - 1 else 0), part) + between
        for number, part in enumerate(parts)
    ),
    st.sampled_from([1, 2]),
    st.lists(st.sampled_from([b"", b"abc", "₹".encode(), b"\xe2\x82", b"x" * 150]), min_size=2, max_size=4),
    st.sampled_from([b"", frame(0x89, b"hello")]),
)
controls = st.sampled_from([frame(0x89, b"ping"), frame(0x8A, b"pong")])
closes = st.sampled_from([frame(0x88, b""), frame(0x88, b"\x03\xe9bye"), frame(0x88, b"\x00")])
wrong = st.sampled_from(
    [
        frame(0x82, b"abcd", mask=0x80),
        frame(0xC2, b"abc"),
        frame(0x80, b"abc"),
        frame(0x02, b"a") + frame(0x82, b"b"),
    ]
)
anything = st.builds(
    frame,
    st.integers(0, 255),
    st.binary(max_size=130),
    st.sampled_from([None, 127]),
    st.sampled_from([0, 0, 0, 0x80]),
)
right = st.lists(st.one_of(plain, alike, plain, wide, texts, fragments, controls), max_size=6).map(b"".join)
streams = st.tuples(
    right, st.one_of(st.just(b""), closes, wrong, anything, st.binary(max_size=3)), right
).map(b"".join)


def protocol() -> ClientProtocol:
    return ClientProtocol(parse_uri("ws://127.0.0.1/"), state=State.OPEN, max_size=MOST)


def by_library(stream: bytes) -> tuple[list[Message], str | None, int | None]:
    """Return what the library alone reads of it: messages, how it ended, how often it answered."""
    library = protocol()
    messages: list[Message] = []
    parts: list[Frame] = []
    library.receive_data(stream)
    for event in library.events_received():
        assert isinstance(event, Frame)
        if event.opcode not in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            continue
        parts.append(event)
        if event.fin:
            whole, kind, parts = b"".join(part.data for part in parts), parts[0].opcode, []
            try:
                messages.append(whole.decode() if kind is Opcode.TEXT else whole)
            except UnicodeDecodeError:  # the library leaves it to whoever reads
                return messages, "closed with code 1007 text is not UTF-8", None
    close = library.close_rcvd or library.close_sent
    ending = f"closed with code {close.code} {close.reason}".rstrip() if close else None
    return messages, ending, len(library.data_to_send())


async def by_us(pieces: list[bytes]) -> tuple[list[Message], str | None, int]:
    socket, line = WebSocket(protocol(), MOST, 1 << 20, SystemClock()), Line()
    socket.connection_made(line)
    for piece in pieces:
        room = socket.get_buffer(-1)
        room[: len(piece)] = piece
        socket.buffer_updated(len(piece))
    messages: list[Message] = []
    if socket.ending is None:
        socket._end()
        messages += await taken(socket)
        return messages, None, len(line.written)
    return await taken(socket), socket.ending, len(line.written)


async def taken(socket: WebSocket) -> list[Message]:
    try:
        return await socket.receive_all()
    except ConnectionEnded:
        return []


@settings(deadline=None, max_examples=300)
@given(stream=streams, cuts=st.lists(st.integers(0, 2_000), max_size=8))
def test_we_read_what_the_library_reads(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    messages, ending, answers = by_library(stream)
    ours = asyncio.run(by_us(pieces))
    if ending is not None and ours[1] is None:  # what is wrong with a header is told when all of it is there
        ours = asyncio.run(by_us([*pieces, bytes(8)]))
    assert ours[:2] == (messages, ending)
    assert answers in {None, ours[2]}


def test_a_message_larger_than_one_read_is_waited_for() -> None:
    framing, messages = Framing(1 << 20, lambda _: True), list[Message]()
    sent = [bytes([number]) * size for number, size in enumerate((3, 300_000, 70_000, AT_ONCE, 5))]
    stream, reads = b"".join(frame(0x82, payload) for payload in sent), 0
    while stream:
        room = framing.room()
        count = min(len(room), len(stream))
        room[:count] = stream[:count]
        stream, reads = stream[count:], reads + 1
        framing.put(count)
        framing.cut(messages)
    assert messages == sent
    assert reads < 9  # a long message is read to its end in one go
