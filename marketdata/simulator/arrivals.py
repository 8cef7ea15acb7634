"""When requests came: as their first byte does, before anything is made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from weakref import WeakKeyDictionary

from aiohttp import web

from marketdata.domain.clock import Clock

Transport = asyncio.BaseTransport


class Arrivals:
    """For each connection, when the request came that it has not answered yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at: WeakKeyDictionary[Transport, float] = WeakKeyDictionary()

    def note(self, transport: Transport) -> None:
        """Bytes have come."""
        self._at.setdefault(transport, self._clock.time())

    async def answer(
        self, request: web.Request, response: Awaitable[web.StreamResponse], noted: Callable[[float], None]
    ) -> web.StreamResponse:
        """Answer a request; call ``noted`` with the UNIX time at which it came, when its answer has left."""
        transport = request.transport
        began = self._clock.time() if transport is None else self._at.get(transport, self._clock.time())
        try:
            answer = await response
            with suppress(ConnectionError):  # it may have been cut, also on purpose
                await answer.prepare(request)
                await answer.write_eof()
            return answer
        finally:
            if transport is not None:
                self._at.pop(transport, None)
            noted(began)


class Noting(asyncio.Protocol):
    """Hands on what comes, and notes when."""

    def __init__(self, protocol: asyncio.Protocol, arrivals: Arrivals) -> None:
        self._protocol = protocol
        self._arrivals = arrivals
        self._transport: Transport | None = None

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport
        self._protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._transport is not None:
            self._arrivals.note(self._transport)
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
