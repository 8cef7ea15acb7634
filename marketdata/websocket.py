"""A WebSocket client on an asyncio transport.

``websockets`` knows the protocol: handshake, fragments, control frames, errors, the end. What it spends on a frame is more
than all that is done with a price afterwards, so plain messages do not pass through it (``framing.py``). What one read
of the socket brought is handed on together.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import cast

from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from marketdata.domain.clock import Clock
from marketdata.framing import Framing, Message

_NOWHERE = logging.Logger("websocket", level=logging.CRITICAL + 1)  # noqa: LOG001 - outside the tree on purpose
_HEAD_ENDS = b"\r\n\r\n"


class ConnectionEnded(Exception):
    """The connection has ended; the text says why."""


class WebSocket(asyncio.BufferedProtocol):
    """One connection. Messages wait here, in order, until they are taken, those before the end too.

    What one read brought comes on top of ``queued``: up to ``AT_ONCE`` bytes, or one longer message.

    Attributes:
        heard_at: When the last message came, or this was made: ``clock.monotonic``.
        is_paused: The socket is not read, so nothing can be known of the peer.
        ending: Why it has ended; None while it has not.

    """

    def __init__(self, protocol: ClientProtocol, most_bytes: int, queued: int, clock: Clock) -> None:
        self._protocol = protocol
        self._framing = Framing(most_bytes, self._judge)
        self._queued = queued
        self._clock = clock
        self._transport: asyncio.Transport
        self._messages: list[Message] = []
        self._fragments: list[Frame] = []
        self._arrival: asyncio.Future[None] | None = None
        self._pong: asyncio.Future[None] | None = None
        self._pings = 0
        self._has_head = False
        self._is_shaken, self._may_write, self._is_gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._may_write.set()
        self.heard_at = clock.monotonic()
        self.is_paused = False
        self.ending: str | None = None

    @classmethod
    async def connect(
        cls,
        url: str,
        headers: Mapping[str, str],
        *,
        tls: ssl.SSLContext,
        most_bytes: int,
        queued: int,
        clock: Clock,
    ) -> WebSocket:
        """Connect and shake hands, with no proxy between and no redirect followed: the URL is a secret.

        Args:
            url: ``ws:`` or ``wss:``.
            headers: Sent with the handshake.
            tls: Checks the certificate and the host's name, with ``wss:``.
            most_bytes: Of a message; a longer one ends the connection.
            queued: Messages that may wait before the socket is no longer read.
            clock: Stamps what is heard.

        Raises:
            OSError: Not reached, or not trusted.
            ConnectionEnded: The head of the answer does not end.
            WebSocketException: No WebSocket there; ``InvalidStatus`` has the HTTP status. Texts may hold the URL.
            ValueError: Not a host's name.

        """
        uri = parse_uri(url)
        protocol = ClientProtocol(uri, max_size=most_bytes, logger=_NOWHERE)
        _, socket = await asyncio.get_running_loop().create_connection(
            lambda: cls(protocol, most_bytes, queued, clock),
            uri.host,
            uri.port,
            ssl=tls if uri.secure else None,
        )
        try:
            await socket._shake_hands(headers)
        except BaseException:
            socket._transport.abort()
            raise
        return socket

    # --- For whoever reads and writes ------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            ConnectionEnded: After the last one.

        """
        await self._until_arrival()
        message = self._messages.pop(0)
        if len(self._messages) <= self._queued:
            self._resume()
        return message

    async def receive_all(self) -> list[Message]:
        """Return the messages that are there, one at least; raises as ``receive`` does."""
        await self._until_arrival()
        messages, self._messages = self._messages, []
        self._resume()
        return messages

    async def send(self, text: str) -> None:
        """Send a message, and wait until what waits to be sent is little.

        Raises:
            ConnectionEnded: It may not have been sent.

        """
        self._demand_open()
        self._protocol.send_text(text.encode())
        self._flush()
        await self._may_write.wait()
        self._demand_open()

    def ping(self) -> asyncio.Future[None]:
        """Send a ping; done with its pong, or with the end.

        Raises:
            ConnectionEnded: Nothing was sent.

        """
        self._demand_open()
        self._pings += 1
        self._pong = asyncio.get_running_loop().create_future()
        self._protocol.send_ping(self._ping_data)
        self._flush()
        return self._pong

    def hear(self) -> None:
        """Count something else than a message as a sign of life."""
        if self.ending is None:
            self.heard_at = self._clock.monotonic()

    def fail(self, reason: str) -> None:
        """End it, telling the peer why."""
        if self.ending is None:
            self._protocol.fail(CloseCode.INTERNAL_ERROR, reason)
            self._flush()
            self._end()

    def abort(self) -> None:
        """End it at once, without a word."""
        self._transport.abort()
        self._end()

    async def close(self, timeout_s: float) -> None:
        """Close politely, and by force after so long, or when cancelled. Safe to call twice."""
        try:
            if self.ending is None:
                self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
                self._flush()
                self._end()
            self._resume()  # or the peer's farewell would not be seen
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._is_gone.wait()
        finally:
            self._transport.abort()
        await self._is_gone.wait()

    # --- For the event loop ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._framing.room()

    def buffer_updated(self, nbytes: int) -> None:
        self._framing.put(nbytes)
        if self._protocol.state is State.OPEN:
            self._read()
        elif self._protocol.state is State.CONNECTING:
            self._read_answer()
        else:
            self._protocol.receive_data(self._framing.rest())
            self._protocol.events_received()  # it has ended: nobody waits for more

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.eof_received()
        self._is_gone.set()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    # --- The handshake -----------------------------------------------------------------------

    async def _shake_hands(self, headers: Mapping[str, str]) -> None:
        request = self._protocol.connect()
        request.headers.update(headers)
        self._protocol.send_request(request)
        self._flush()
        await self._is_shaken.wait()
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc
        if self._protocol.state is State.CONNECTING:
            raise ConnectionEnded("no answer that could be read")

    def _read_answer(self) -> None:
        if not self._has_head:
            if (head := self._framing.head(_HEAD_ENDS)) is None:
                if not self._framing.room():
                    self.abort()
                return
            self._has_head = True
            self._protocol.receive_data(head)
        if self._protocol.state is State.OPEN:
            self._protocol.events_received()
            self._is_shaken.set()
            self._read()  # what came along
        else:
            self._protocol.receive_data(self._framing.rest())  # why not: said in the body
        if self._protocol.handshake_exc is not None:
            self._is_shaken.set()

    # --- What comes --------------------------------------------------------------------------

    def _read(self) -> None:
        before = len(self._messages)
        self._framing.cut(self._messages)
        if len(self._messages) == before:
            return
        self.hear()
        if self._arrival is not None:
            self._wake()
        elif len(self._messages) > self._queued and not self.is_paused:
            self.is_paused = True
            self._transport.pause_reading()

    def _judge(self, piece: bytes) -> bool:
        self._protocol.receive_data(piece)
        for event in self._protocol.events_received():
            self._take(cast("Frame", event))
        self._flush()
        if self._protocol.state is State.OPEN:
            return True
        self._end()
        return False

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            if frame.data == self._ping_data:
                self._answer()
        elif frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            self._fragments.append(frame)
            if frame.fin:
                self._put_together()

    def _put_together(self) -> None:
        fragments, self._fragments = self._fragments, []
        message = b"".join(frame.data for frame in fragments)
        if fragments[0].opcode is Opcode.BINARY:
            self._messages.append(message)
            return
        try:
            self._messages.append(message.decode())
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "text is not UTF-8")

    async def _until_arrival(self) -> None:
        while not self._messages:
            self._demand_open()
            if self._arrival is not None:
                raise RuntimeError("two tasks wait for the same message")
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            self._transport.resume_reading()

    # --- What goes, and the end --------------------------------------------------------------

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:  # nothing means the end of the stream: the transport is closed instead
                self._transport.write(data)

    @property
    def _ping_data(self) -> bytes:
        return self._pings.to_bytes(4, "big")

    def _answer(self) -> None:
        if self._pong is not None and not self._pong.done():
            self._pong.set_result(None)

    def _demand_open(self) -> None:
        if self.ending is not None:
            raise ConnectionEnded(self.ending)

    def _end(self) -> None:
        """Say why, once, and wake whoever waits."""
        if self.ending is None:
            close = self._protocol.close_rcvd or self._protocol.close_sent
            self.ending = (
                f"closed with code {close.code} {close.reason}".rstrip() if close else "connection lost"
            )
        for event in (self._is_shaken, self._may_write):
            event.set()
        self._answer()
        self._wake()
