"""A small Kite ticker for tests that script every frame; the simulator is the realistic one."""

from __future__ import annotations

import json
import logging
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.support.waiting import eventually_async

INFY, SBIN = 408065, 779521


def frame(*packets: bytes) -> bytes:
    return struct.pack(">H", len(packets)) + b"".join(struct.pack(">H", len(p)) + p for p in packets)


def ltp(token: int, paise: int) -> bytes:
    return frame(struct.pack(">II", token, paise))


def full(token: int, paise: int, time: int) -> bytes:
    return frame(struct.pack(">II52xI120x", token, paise, time))


class KiteFeed:
    """Records what it is asked on each connection; answers only what a test tells it to.

    Attributes:
        commands: JSON commands by connection, in order.
        requests: Handshakes, refused ones too.
        status: Refuse handshakes with this HTTP status while it is set.
        token: The only access token that is let in; any when empty.

    """

    def __init__(self) -> None:
        self.commands: list[list[dict[str, Any]]] = []
        self.requests: list[Request] = []
        self.status: int | None = None
        self.location = ""
        self.token = ""
        self.connections: list[ServerConnection] = []
        self._server: Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def connected(self, count: int) -> ServerConnection:
        """Wait until ``count`` connections have been made in all; return the last."""
        await eventually_async(lambda: len(self.connections) >= count)
        return self.connections[-1]

    async def asked(self, *commands: dict[str, Any], connection: int = -1) -> None:
        """Wait until a connection has been sent exactly ``commands``."""

        def same() -> bool:
            assert self.commands[connection:]
            assert self.commands[connection] == list(commands)
            return True

        await eventually_async(same)

    def drop(self) -> None:
        """Cut the last connection without a goodbye."""
        self.connections[-1].transport.abort()

    async def _handle(self, connection: ServerConnection) -> None:
        mine: list[dict[str, Any]] = []
        self.commands.append(mine)
        self.connections.append(connection)
        try:
            async for message in connection:
                mine.append(json.loads(message))  # noqa: PERF401 - seen by others as it grows
        except ConnectionClosed:
            pass

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        query = parse_qs(urlsplit(request.path).query)
        refused = self.token and query.get("access_token") != [self.token]
        status = self.status or (HTTPStatus.FORBIDDEN if refused else None)
        if status is None:
            return None
        response = connection.respond(HTTPStatus(status), "refused")
        if self.location:
            response.headers["Location"] = self.location
        return response


@asynccontextmanager
async def kite_feed(tls: ssl.SSLContext | None = None) -> AsyncIterator[KiteFeed]:
    """Run a ticker on a free loopback port."""
    feed = KiteFeed()
    quiet = logging.Logger("kite-feed", level=logging.CRITICAL)  # noqa: LOG001 - it would print the tokens it gets
    async with serve(
        feed._handle, "127.0.0.1", 0, process_request=feed._admit, ssl=tls, logger=quiet
    ) as server:
        feed._server = server
        try:
            yield feed
        finally:
            for connection in feed.connections:
                connection.transport.abort()
