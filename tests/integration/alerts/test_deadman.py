"""The outside dead-man ping, against a real HTTP server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from marketdata.secret import Secret
from project.deadman import EVERY_S, DeadMan
from tests.fakes.clock import HandClock
from tests.support.waiting import eventually_async


class Outside:
    """Whoever waits for the ping."""

    def __init__(self, port: int) -> None:
        self.url = Secret(f"http://127.0.0.1:{port}/hush-hush-token")
        self.paths: list[str] = []
        self.status = 200


@pytest.fixture
def outside() -> Iterator[Outside]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kept.paths.append(self.path)
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept = Outside(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield kept
    server.shutdown()
    server.server_close()
    thread.join()


@asynccontextmanager
async def pinging(url: Secret, clock: HandClock, is_well: Callable[[], bool]) -> AsyncIterator[DeadMan]:
    dead_man = DeadMan(url, is_well, clock)
    task = asyncio.create_task(dead_man.run())
    try:
        yield dead_man
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def has_come(outside: Outside, count: int) -> bool:
    return len(outside.paths) == count


async def sleeps(clock: HandClock) -> None:
    await eventually_async(lambda: clock._sleepers)


async def test_it_comes_each_minute_and_only_while_all_is_well(outside: Outside) -> None:
    clock, well = HandClock(), [False]
    async with pinging(outside.url, clock, lambda: well[0]):
        await sleeps(clock)
        clock.advance(1)
        await sleeps(clock)
        assert outside.paths == []
        well[0] = True
        clock.advance(1)
        await eventually_async(lambda: outside.paths == ["/hush-hush-token"])
        for count in (2, 3):
            await sleeps(clock)
            clock.advance(EVERY_S - 1)
            assert len(outside.paths) == count - 1
            clock.advance(1)
            await eventually_async(partial(has_come, outside, count))
        await sleeps(clock)
        well[0] = False
        clock.advance(EVERY_S)
        await sleeps(clock)
        assert len(outside.paths) == 3


async def test_whoever_cannot_be_reached_is_logged_once_and_never_by_the_address(
    outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    dead_man = DeadMan(outside.url, lambda: True, HandClock())
    outside.status = 503
    await dead_man.ping()
    await dead_man.ping()
    assert [record.getMessage() for record in caplog.records] == [
        "DEADMAN_URL cannot be reached (HTTP 503): whoever waits for it will call"
    ]
    outside.status = 200
    await dead_man.ping()
    await dead_man.ping()
    assert caplog.messages[1:] == ["DEADMAN_URL is reached again"]
    nobody = DeadMan(Secret("http://127.0.0.1:9/hush-hush-token"), lambda: True, HandClock())
    await nobody.ping()
    assert "ConnectionRefusedError" in caplog.messages[-1]
    assert "hush" not in caplog.text
