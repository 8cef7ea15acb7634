"""One client's feed socket: what leaves, in what order, and when nothing does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import ClientConnectionError, WSMsgType, web

_BACKLOG = 200_000  # packets; a client that far behind is cut, as brokers do


class Keepalive(NamedTuple):
    """A server's own pings, and how long it waits for a pong before it cuts the connection."""

    every_s: float
    patience_s: float


class FeedSocket:
    """Sends packets in frames, texts between them, and a heartbeat every second.

    Packets that wait together leave together. While the fault ``silence`` lasts nothing is
    sent, pongs included, and what would have been sent is lost.

    Args:
        ws: An accepted socket whose pings are ours to answer (``autoping=False``).
        transport: Below it, to be cut.
        frame: Puts waiting packets into frames.
        heartbeat: What is sent every second; empty: nothing.
        is_silent: Tells whether to be silent now.
        keepalive: Pings of the server; none: it never pings.

    """

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        *,
        frame: Callable[[list[bytes]], list[bytes]],
        heartbeat: bytes,
        is_silent: Callable[[], bool],
        keepalive: Keepalive | None = None,
    ) -> None:
        self.ws = ws
        self._transport = transport
        self._frame = frame
        self._heartbeat = heartbeat
        self._is_silent = is_silent
        self._keepalive = keepalive
        self._ponged_at = self._pinged_at = asyncio.get_running_loop().time()
        self._packets: list[bytes] = []
        self._messages: list[bytes | str] = []
        self._wake = asyncio.Event()

    def packet(self, packet: bytes) -> None:
        """Queue one packet for the next frame."""
        self._packets.append(packet)
        self._wake.set()
        if len(self._packets) > _BACKLOG:
            self.cut()

    def message(self, message: bytes | str) -> None:
        """Queue one whole message, behind the packets that wait."""
        self._seal()
        self._messages.append(message)
        self._wake.set()

    def cut(self) -> None:
        """End the connection without a close frame."""
        self._transport.abort()

    async def pong(self, payload: bytes) -> None:
        if not self._is_silent():
            await self.ws.pong(payload)

    def ponged(self) -> None:
        """Note that the client answered a ping."""
        self._ponged_at = asyncio.get_running_loop().time()

    async def send_all(self) -> None:
        """Send what is queued until the socket ends."""
        loop = asyncio.get_running_loop()
        beat_at = loop.time()
        try:
            while not self.ws.closed:
                await self._woken(min(beat_at + 1, self._ping_at()) - loop.time())
                await self._keep_alive(loop.time())
                if loop.time() >= beat_at + 1:
                    beat_at = loop.time()
                    if self._heartbeat:
                        self.message(self._heartbeat)
                await self._flush()
        except (ClientConnectionError, ConnectionError):
            pass  # the client left, or the connection was cut on purpose

    def _ping_at(self) -> float:
        return self._pinged_at + self._keepalive.every_s if self._keepalive else float("inf")

    async def _keep_alive(self, now: float) -> None:
        """Ping when it is time; cut a client that answered none for too long."""
        if self._keepalive is None or now < self._ping_at():
            return
        self._pinged_at = now
        if self._is_silent():
            return
        if now - self._ponged_at > self._keepalive.patience_s:
            self.cut()
        else:
            await self.ws.ping()

    async def _woken(self, timeout: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), max(timeout, 0.001))
        except TimeoutError:
            pass
        self._wake.clear()

    def _seal(self) -> None:
        if self._packets:
            self._messages.extend(self._frame(self._packets))
            self._packets = []

    async def _flush(self) -> None:
        self._seal()
        messages, self._messages = self._messages, []
        if self._is_silent():
            return
        for message in messages:
            if isinstance(message, str):
                await self.ws.send_str(message)
            else:
                await self.ws.send_bytes(message)


async def texts(socket: FeedSocket) -> list[str] | None:
    """Return the next text a client sent, as a list of one; empty for other frames; None at the end."""
    message = await socket.ws.receive()
    if message.type is WSMsgType.TEXT:
        return [message.data]
    if message.type is WSMsgType.PING:
        await socket.pong(message.data)
        return []
    if message.type is WSMsgType.PONG:
        socket.ponged()
        return []
    ended = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
    return None if message.type in ended else []
