"""One WebSocket for every broker: verified, pinged, watched for silence, bounded.

Feed URLs carry access tokens. Nothing here puts a URL in a log line or an exception; the
WebSocket library, which would, gets a logger that goes nowhere.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import Opcode

from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerUnavailable
from marketdata.secret import Secret

_NOWHERE = logging.Logger("websocket", level=logging.CRITICAL + 1)  # noqa: LOG001 - outside the tree on purpose
_LOOKS_PER_SILENCE = 20
MOST_AT_ONCE = 256
"""Messages that are taken before the loop gets a turn."""


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


class _Connect(connect):
    # A class, for the library offers no other way to refuse redirects.
    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc  # a redirect would carry the token in the URL to wherever it points


class Transport:
    """One open connection. Made by :meth:`open`, read by ``receive``, ended by ``close`` or ``abort``."""

    def __init__(
        self, connection: ClientConnection, host: str, options: TransportOptions, clock: Clock
    ) -> None:
        self._connection = connection
        self._host = host
        self._options = options
        self._clock = clock
        self._cause: str | None = None
        self.last_frame_at = clock.monotonic()
        self._watchers: list[asyncio.Task[None]] = []
        if options.silence_s is not None:
            self._watchers.append(asyncio.create_task(self._watch_silence(options.silence_s)))
        if options.pongs_count:
            self._watchers.append(asyncio.create_task(self._listen_for_pongs()))

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
            connection = await _connect(handshake, options, tls)
        except InvalidStatus as exc:
            raise HandshakeRefused(host, exc.response.status_code) from None
        except ssl.SSLError as exc:
            reason = getattr(exc, "verify_message", "") or exc.reason or "TLS handshake failed"
            raise BrokerUnavailable(f"{host} is not trusted: {reason}") from None
        except (OSError, WebSocketException, EOFError, ValueError) as exc:
            # The cause is not chained: some of these spell out the URL.
            raise BrokerUnavailable(f"{host} was not reached: {_describe(exc)}") from None
        return cls(connection, host, options, clock)

    async def receive(self) -> bytes | str:
        """Return the next message.

        Raises:
            BrokerUnavailable: The connection has ended; says why.

        """
        try:
            message = await self._connection.recv()
        except (ConnectionClosed, UnicodeDecodeError) as exc:
            raise BrokerUnavailable(self._ending(exc)) from None
        self.last_frame_at = self._clock.monotonic()
        return message

    async def receive_all(self) -> list[bytes | str]:
        """Return the messages that are there, in order, waiting for the first alone; raises as ``receive`` does."""
        messages = [await self.receive()]
        waiting = self._connection.recv_messages.frames.queue
        # Each of these is whole and is not waited for. A text is left to ``receive``, which says what is wrong with it.
        while (
            waiting and waiting[0].fin and waiting[0].opcode is Opcode.BINARY and len(messages) < MOST_AT_ONCE
        ):
            messages.append(await self._connection.recv())
        return messages

    async def send(self, text: str) -> None:
        """Send one text message.

        Raises:
            BrokerUnavailable: The connection has ended, or the peer stopped reading.

        """
        try:
            async with asyncio.timeout(self._options.send_timeout_s):
                await self._connection.send(text)
        except TimeoutError:
            self.abort("the peer stopped reading")
            raise BrokerUnavailable(f"{self._host} stopped reading") from None
        except ConnectionClosed as exc:
            raise BrokerUnavailable(self._ending(exc)) from None

    def abort(self, cause: str) -> None:
        """Drop the connection at once, without a closing handshake."""
        self._cause = self._cause or cause
        self._connection.transport.abort()

    async def close(self) -> None:
        """Close politely, and by force after ``close_timeout_s``. Safe to call twice."""
        for watcher in self._watchers:
            watcher.cancel()
        with suppress(WebSocketException, OSError):
            await self._connection.close()

    async def _watch_silence(self, limit: float) -> None:
        while True:
            await self._clock.sleep(limit / _LOOKS_PER_SILENCE)
            age = self._clock.monotonic() - self.last_frame_at
            if age > limit:
                self.abort(f"silent for {age:.1f} s")

    async def _listen_for_pongs(self) -> None:
        # One ping after the other: a peer that does not answer is not asked for more.
        with suppress(ConnectionClosed):  # the reader is told, and tells why
            while True:
                await self._clock.sleep(self._options.ping_interval_s)
                await (await self._connection.ping())
                self.last_frame_at = self._clock.monotonic()

    def _ending(self, exc: Exception) -> str:
        return f"{self._host}: {self._cause or _describe(exc)}"


async def _connect(
    handshake: Handshake, options: TransportOptions, tls: ssl.SSLContext | None
) -> ClientConnection:
    url = handshake.url.reveal()
    return await _Connect(
        url,
        ssl=(tls or tls_context()) if url.startswith("wss:") else None,
        additional_headers=dict(handshake.headers),
        user_agent_header=handshake.user_agent,
        compression=None,  # no broker offers it, and it costs a copy
        proxy=None,  # the token goes to the broker and to nobody between
        logger=_NOWHERE,
        open_timeout=options.open_timeout_s,
        ping_interval=None if options.pongs_count else options.ping_interval_s,
        ping_timeout=options.ping_timeout_s,
        close_timeout=options.close_timeout_s,
        max_size=options.max_message_bytes,
        max_queue=options.queued_messages,
    )


def _describe(exc: Exception) -> str:
    # Only what cannot hold a URL: the system's words, or our words for the library's classes.
    if isinstance(exc, ConnectionClosed):
        close = exc.rcvd or exc.sent
        return f"closed with code {close.code} {close.reason}".rstrip() if close else "connection lost"
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError):
        return exc.strerror or type(exc).__name__
    return type(exc).__name__
