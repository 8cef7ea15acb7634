"""A server's own pings."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiohttp import web

from marketdata.simulator.sockets import FeedSocket, Keepalive


class Line:
    """A socket and the transport below it, as far as a sender sees them."""

    def __init__(self) -> None:
        self.closed = False
        self.pings = 0
        self.answers = True
        self.sender: FeedSocket | None = None

    async def ping(self) -> None:
        self.pings += 1
        if self.answers and self.sender:
            self.sender.ponged()

    def abort(self) -> None:
        self.closed = True


def sender(line: Line, *, silent: bool = False, patience_s: float = 0.2) -> FeedSocket:
    line.sender = FeedSocket(
        cast("web.WebSocketResponse", line),
        cast("asyncio.Transport", cast("Any", line)),
        frame=list,
        heartbeat=b"",
        is_silent=lambda: silent,
        keepalive=Keepalive(every_s=0.02, patience_s=patience_s),
    )
    return line.sender


async def test_a_client_that_answers_is_pinged_on_and_on() -> None:
    """Longer than it would be waited for; a machine that stands still for a moment cuts nobody."""
    line, loop = Line(), asyncio.get_running_loop()
    task = asyncio.create_task(sender(line, patience_s=1.0).send_all())
    until = loop.time() + 1.3
    async with asyncio.timeout(20):
        while line.pings < 15 or loop.time() < until:
            await asyncio.sleep(0.01)
    assert not line.closed
    task.cancel()


async def test_one_that_answers_nothing_is_cut() -> None:
    line = Line()
    line.answers = False
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(20):
        await sender(line).send_all()
    assert line.closed
    assert loop.time() - began > 0.2
    assert line.pings <= 0.2 / 0.02 + 1


async def test_silence_sends_no_pings() -> None:
    line = Line()
    task = asyncio.create_task(sender(line, silent=True).send_all())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.3)
    assert (line.pings, line.closed) == (0, False)
    task.cancel()
