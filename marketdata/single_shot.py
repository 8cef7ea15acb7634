"""One write to a broker: one HTTP request on one connection, its outcome judged by where it failed.

No retry and no redirect: no broker tells a second copy of an order from a second order.
"""

from __future__ import annotations

import http.client
import math
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from marketdata import crashpoints
from marketdata.clock import SystemClock
from marketdata.domain.errors import BrokerRejected, BrokerUnavailable
from marketdata.domain.orders import Outcome, RejectReason, WriteResult
from marketdata.http_connections import connected, is_silent

CONNECT_S = 2.0
READ_S = 10.0
_MAX_REPLY = 1 << 20
_monotonic = SystemClock().monotonic

Classify = Callable[[int, bytes], WriteResult]
"""Says what a complete reply proves, from its HTTP status and its body."""


@dataclass(frozen=True, slots=True)
class Write:
    """One request. Header values may be secrets; ``Content-Length`` is added."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class SingleShot:
    """An open connection for exactly one write."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._body: bytes | None = None
        self._method = ""
        self._used = False

    @classmethod
    def open(cls, root: str) -> SingleShot:
        """Connect to a root's host, with TLS where the root says so, and send nothing.

        Raises:
            BrokerUnavailable: Not reached, or not trusted.

        """
        try:
            return cls(connected(root, CONNECT_S))
        except OSError as exc:
            raise BrokerUnavailable(
                f"{urlsplit(root).netloc} was not reached: {exc.strerror or exc}"
            ) from exc

    def is_open(self) -> bool:
        """Tell whether the other side has kept the connection open and silent, as far as is known here."""
        return is_silent(self._connection)

    def prepare(self, write: Write) -> None:
        """Gather one request in memory and send nothing.

        Raises:
            BrokerRejected: No HTTP request can be made of it.
            RuntimeError: It holds, or has carried, its one write already.

        """
        if self._body is not None:
            raise RuntimeError("this connection has its one write already: open another")
        self._body, self._method = write.body, write.method
        try:
            self._head(write)
        except (http.client.HTTPException, ValueError):  # their texts quote the header with the token
            self.close()
            raise BrokerRejected("no HTTP request can be made of these credentials") from None

    def send(self, classify: Classify, not_after: float = math.inf) -> WriteResult:
        """Send what was prepared and say what became of it; the connection is closed after it.

        Args:
            classify: Judges a complete reply.
            not_after: Monotonic seconds. When they are past before the first byte, nothing is sent.

        Raises:
            RuntimeError: Nothing was prepared, or it was sent already.

        """
        if self._body is None or self._used:
            raise RuntimeError("this connection has no write to send: open another and prepare one")
        self._used = True
        sock = self._connection.sock
        if sock is None:
            return not_sent("the connection was closed before the request")
        try:
            sock.settimeout(READ_S)
            if (late := _monotonic() - not_after) > 0:
                return not_sent(f"held up: it was to leave {late:.1f} s ago, and was not sent")
            self._connection.endheaders(self._body)  # the first byte leaves here
            crashpoints.passing("CP7" if self._method == "POST" else "CP11")
            with _deadline(sock):
                status, reply = self._reply()
        except (OSError, http.client.HTTPException, ValueError) as exc:
            # Some of the request may have arrived, and all of it may have.
            text = f"no answer to the {self._method}: {type(exc).__name__}: {exc}"
            return WriteResult(Outcome.UNKNOWN, message=text)
        finally:
            self.close()
        return classify(status, reply)

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self._connection.close()

    def _head(self, write: Write) -> None:
        # Gathered in memory; nothing leaves before `endheaders`.
        headers = {**write.headers, "Connection": "close", "Content-Length": str(len(write.body))}
        self._connection.putrequest(write.method, write.path, skip_accept_encoding=True)
        for name, value in headers.items():
            self._connection.putheader(name, value)

    def _reply(self) -> tuple[int, bytes]:
        reply = self._connection.getresponse()
        body = reply.read(_MAX_REPLY)
        if reply.length:  # what was announced did not all come
            raise http.client.IncompleteRead(body, reply.length)
        return reply.status, body


def not_sent(why: str) -> WriteResult:
    """Return the result of a write that never left this machine."""
    return WriteResult(Outcome.NOT_SENT, message=why)


def rejected(why: str, reason: RejectReason) -> WriteResult:
    """Return the result of a definite refusal."""
    return WriteResult(Outcome.REJECTED, message=why, reject_class=reason.reject_class, reject_reason=reason)


def unknown(status: int, why: str) -> WriteResult:
    """Return the result of a reply that proves nothing."""
    return WriteResult(Outcome.UNKNOWN, message=f"HTTP {status}: {why}")


@contextmanager
def _deadline(sock: socket.socket) -> Iterator[None]:
    # A timeout of the socket starts anew with each byte, so a trickle could hold us for ever:
    # READ_S after the request, the connection is shut under the reader.
    def shut() -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(READ_S, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
