"""Connections to a broker's HTTP hosts: opened once, checked before use, closed when in doubt."""

from __future__ import annotations

import http.client
import ssl
import weakref
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from marketdata.transport import tls_context


class Reply(NamedTuple):
    """One whole answer."""

    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes


def connected(root: str, timeout_s: float) -> http.client.HTTPConnection:
    """Connect to a root's host, with TLS where the root says so. It never connects again by itself.

    Raises:
        OSError: Not reached, or (``ssl.SSLError``) not trusted.

    """
    parts = urlsplit(root)
    host = parts.hostname or ""
    if parts.scheme == "https":
        secure = http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=tls_context())
        connection: http.client.HTTPConnection = secure
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    connection.auto_open = 0
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise
    return connection


def is_silent(connection: http.client.HTTPConnection) -> bool:
    """Tell whether the other side has kept an idle connection open and silent, as far as is known here."""
    sock = connection.sock
    if sock is None:
        return False
    before = sock.gettimeout()
    sock.settimeout(0.0)
    try:
        sock.recv(1)  # TLS takes in here what the other side says by itself, and waits for more
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    finally:
        sock.settimeout(before)
    return False  # its end, or what nobody asked for


class KeptConnections:
    """Asks over connections that stay open for the next question. Safe to use from several threads.

    Args:
        most: How many are kept idle for one host.

    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[str, deque[http.client.HTTPConnection]] = {}
        # An SDK's session is let go of without a word when an account has a new login.
        weakref.finalize(self, _close, self._idle)

    def get(self, root: str, path: str, headers: Mapping[str, str], timeouts_s: tuple[float, float]) -> Reply:
        """Ask once; ``timeouts_s``: to connect, and between two pieces of the answer.

        Raises:
            OSError, http.client.HTTPException: There was no whole answer.

        """
        connection = self._idle_one(root) or connected(root, timeouts_s[0])
        try:
            connection.sock.settimeout(timeouts_s[1])
            connection.request("GET", path, headers=dict(headers))
            reply = connection.getresponse()
            body = reply.read()
        except BaseException:
            connection.close()
            raise
        self._keep(root, connection, may_be_kept=not reply.will_close)
        return Reply(reply.status, reply.reason, reply.headers, body)

    def close(self) -> None:
        """Close the idle ones."""
        _close(self._idle)

    def _idle_one(self, root: str) -> http.client.HTTPConnection | None:
        idle = self._idle.get(root)
        while idle:
            try:
                connection = idle.pop()  # the one used last is the likeliest to be open
            except IndexError:  # another thread has it
                return None
            if is_silent(connection):
                return connection
            connection.close()
        return None

    def _keep(self, root: str, connection: http.client.HTTPConnection, *, may_be_kept: bool) -> None:
        idle = self._idle.setdefault(root, deque())
        if may_be_kept and len(idle) < self._most:
            idle.append(connection)
        else:
            connection.close()


def _close(idle: dict[str, deque[http.client.HTTPConnection]]) -> None:
    for connections in idle.values():
        while connections:
            connections.pop().close()
