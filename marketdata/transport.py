"""One WebSocket for every broker: verified, pinged, watched for silence, bounded.

Feed URLs carry access tokens. Nothing here puts a URL in a log line or an exception; the
WebSocket library, which would, gets a logger that goes nowhere.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus, WebSocketException

from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerUnavailable
from marketdata.framing import Message
from marketdata.secret import Secret
from marketdata.websocket import ConnectionEnded, WebSocket

_LOOKS = 20
"""How often a wait is looked at before it is over."""


class HandshakeRefused(BrokerUnavailable):
    """The server answered the handshake with an HTTP status instead of a WebSocket."""

    def __init__(self, host: str, status: int) -> None:
        super().__init__(f"{host} refused the connection with HTTP {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Handshake:
    """Where a feed is and what it wants to be told. ``url`` may hold a token."""

    url: Secret
    headers: Mapping[str, str] = field(default_factory=dict)
    user_agent: str | None = None

    @property
    def host(self) -> str:
        """Host and port; safe to show."""
        try:
            return urlsplit(self.url.reveal()).netloc.rpartition("@")[2]
        except ValueError:  # its text would quote the URL
            return "the feed's address"


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """How patient a connection is. Seconds.

    Attributes:
        silence_s: A connection without a frame for this long is dead. Pings and pongs are
            not frames: they show that the machine answers, not that prices flow. None:
            silence is no sign.
        pongs_count: Pongs to our own pings count as frames after all, for a broker that sends
            nothing when nothing trades.
        queued_messages: Above this the socket is not read: the sender waits, memory does not grow.

    """

    open_timeout_s: float = 10.0
    send_timeout_s: float = 5.0
    close_timeout_s: float = 1.0
    ping_interval_s: float = 2.0
    ping_timeout_s: float = 5.0
    silence_s: float | None = 5.0
    pongs_count: bool = False
    max_message_bytes: int = 1 << 20
    queued_messages: int = 64


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Return the context every broker connection uses: certificate and host name are checked."""
    return ssl.create_default_context()


class Transport:
    """One open connection. Made by :meth:`open`, read by ``receive``, ended by ``close`` or ``abort``."""

    def __init__(self, socket: WebSocket, host: str, options: TransportOptions, clock: Clock) -> None:
        self._socket = socket
        self._host = host
        self._options = options
        self._clock = clock
        self._cause: str | None = None
        self._watchers = [asyncio.create_task(self._keep_pinging())]
        if options.silence_s is not None:
            self._watchers.append(asyncio.create_task(self._watch_silence(options.silence_s)))

    @classmethod
    async def open(
        cls,
        handshake: Handshake,
        *,
        options: TransportOptions,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
    ) -> Transport:
        """Connect and shake hands.

        Args:
            handshake: Where, and with which headers.
            options: How patient to be.
            clock: Measures silence.
            tls: Another context than the default one, which trusts the system's authorities.

        Raises:
            HandshakeRefused: An HTTP status came back.
            BrokerUnavailable: Not reached, not trusted, or no WebSocket there.

        """
        host = handshake.host
        try:
            async with asyncio.timeout(options.open_timeout_s):
                socket = await _connect(handshake, options, clock, tls)
        except InvalidStatus as exc:
            raise HandshakeRefused(host, exc.response.status_code) from None
        except ssl.SSLError as exc:
            reason = getattr(exc, "verify_message", "") or exc.reason or "TLS handshake failed"
            raise BrokerUnavailable(f"{host} is not trusted: {reason}") from None
        except (OSError, WebSocketException, ConnectionEnded, EOFError, ValueError) as exc:
            # The cause is not chained: some of these spell out the URL.
            raise BrokerUnavailable(f"{host} was not reached: {_describe(exc)}") from None
        return cls(socket, host, options, clock)

    @property
    def last_frame_at(self) -> float:
        """When the last message came, or pong where those count (``clock.monotonic``)."""
        return self._socket.heard_at

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            BrokerUnavailable: The connection has ended, and all that came before was taken; says why.

        """
        try:
            return await self._socket.receive()
        except ConnectionEnded as exc:
            raise self._ended(exc) from None

    async def receive_all(self) -> list[Message]:
        """Return the messages that are there, in order, waiting for the first alone; raises as ``receive`` does."""
        try:
            return await self._socket.receive_all()
        except ConnectionEnded as exc:
            raise self._ended(exc) from None

    async def send(self, text: str) -> None:
        """Send one text message.

        Raises:
            BrokerUnavailable: The connection has ended, or the peer stopped reading.

        """
        try:
            async with asyncio.timeout(self._options.send_timeout_s):
                await self._socket.send(text)
        except TimeoutError:
            self.abort("the peer stopped reading")
            raise BrokerUnavailable(f"{self._host} stopped reading") from None
        except ConnectionEnded as exc:
            raise self._ended(exc) from None

    def abort(self, cause: str) -> None:
        """Drop the connection at once, without a closing handshake."""
        if self._socket.ending is None:
            self._cause = cause
        self._socket.abort()

    async def close(self) -> None:
        """Close politely, and by force after ``close_timeout_s``. Safe to call twice."""
        for watcher in self._watchers:
            watcher.cancel()
        await self._socket.close(self._options.close_timeout_s)

    async def _watch_silence(self, limit: float) -> None:
        listening_since = self._clock.monotonic()
        while True:
            await self._clock.sleep(limit / _LOOKS)
            now = self._clock.monotonic()
            if self._socket.is_paused:
                listening_since = now
            age = now - max(self.last_frame_at, listening_since)
            if age > limit:
                self.abort(f"silent for {age:.1f} s")

    async def _keep_pinging(self) -> None:
        # One ping after the other: a peer that does not answer is not asked for more.
        with suppress(ConnectionEnded):  # the reader is told, and tells why
            while True:
                await self._clock.sleep(self._options.ping_interval_s)
                pong = self._socket.ping()
                if self._options.pongs_count:
                    await pong
                    self._socket.hear()
                elif not await self._has_come(pong):
                    self._socket.fail("keepalive ping timeout")

    async def _has_come(self, pong: asyncio.Future[None]) -> bool:
        """Wait for a pong for as long as we ourselves were reading: neither paused nor busy with something else."""
        looks = 0
        while looks < _LOOKS and not pong.done():
            await asyncio.wait([pong], timeout=self._options.ping_timeout_s / _LOOKS)
            looks += not self._socket.is_paused
        return pong.done()

    def _ended(self, exc: ConnectionEnded) -> BrokerUnavailable:
        return BrokerUnavailable(f"{self._host}: {self._cause or exc}")


async def _connect(
    handshake: Handshake, options: TransportOptions, clock: Clock, tls: ssl.SSLContext | None
) -> WebSocket:
    agent = {} if handshake.user_agent is None else {"User-Agent": handshake.user_agent}
    return await WebSocket.connect(
        handshake.url.reveal(),
        {**handshake.headers, **agent},
        tls=tls or tls_context(),
        most_bytes=options.max_message_bytes,
        queued=options.queued_messages,
        clock=clock,
    )


def _describe(exc: Exception) -> str:
    # Only what cannot hold a URL: the system's words, or our words for the library's classes.
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError):
        return exc.strerror or type(exc).__name__
    return str(exc) if isinstance(exc, ConnectionEnded) else type(exc).__name__
