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


def sender(line: Line, *, silent: bool = False) -> FeedSocket:
    line.sender = FeedSocket(
        cast("web.WebSocketResponse", line),
        cast("asyncio.Transport", cast("Any", line)),
        frame=list,
        heartbeat=b"",
        is_silent=lambda: silent,
        keepalive=Keepalive(every_s=0.02, patience_s=0.1),
    )
    return line.sender


async def test_a_client_that_answers_is_pinged_on_and_on() -> None:
    line = Line()
    task = asyncio.create_task(sender(line).send_all())
    async with asyncio.timeout(5):
        while line.pings < 15:
            await asyncio.sleep(0.01)
    assert not line.closed
    task.cancel()


async def test_one_that_answers_nothing_is_cut() -> None:
    line = Line()
    line.answers = False
    async with asyncio.timeout(5):
        await sender(line).send_all()
    assert line.closed
    assert 2 <= line.pings <= 8


async def test_silence_sends_no_pings() -> None:
    line = Line()
    task = asyncio.create_task(sender(line, silent=True).send_all())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), 0.3)
    assert (line.pings, line.closed) == (0, False)
    task.cancel()
