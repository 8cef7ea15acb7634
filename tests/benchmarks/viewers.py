"""Browsers without a browser: they read, acknowledge as the page does, and note when they were told."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

ACK_EVERY = 2  # as socket.js does
_NUMBERED = '{"type":"prices","seq":'


def symbols(count: int) -> list[str]:
    return [f"NSE:BENCH{n}" for n in range(count)]


class Viewer:
    """One open socket."""

    def __init__(self, connection: ClientConnection, *, is_deep: bool) -> None:
        self._connection = connection
        self._is_deep = is_deep
        self.deliveries = 0
        self.prices: dict[str, str] = {}
        self.last = ""
        self.ages_ms: Counter[int] = Counter()

    def forget(self) -> None:
        """Begin to count anew."""
        self.deliveries = 0
        self.ages_ms.clear()

    async def run(self) -> None:
        async for message in self._connection:
            text = str(message)
            if '"prices"' in text[:20]:
                await self._take(text)
            elif self._is_deep and text.startswith(('{"type":"snapshot"', '{"type":"part"')):
                self._take_snapshot(json.loads(text))

    async def _take(self, text: str) -> None:
        self.deliveries += 1
        self.last = text
        if text.startswith(_NUMBERED) and self.deliveries % ACK_EVERY == 0:
            seq = text[len(_NUMBERED) : text.index(",", len(_NUMBERED))]
            await self._connection.send(f'{{"type":"ack","seq":{seq}}}')
        if self._is_deep:
            now = int(time.time() * 1000)
            rows = json.loads(text)["prices"]
            self.ages_ms.update([now - at for _, _, at in rows])
            self.prices.update((symbol, price) for symbol, price, _ in rows)

    def _take_snapshot(self, message: dict[str, Any]) -> None:
        self.prices.update((row["symbol"], row["ltp"]) for row in message.get("watch", ()) if row["ltp"])


@asynccontextmanager
async def viewers(
    url: str, count: int, headers: dict[str, str], *, is_deep: bool
) -> AsyncIterator[list[Viewer]]:
    """Open that many sockets and read them; ``is_deep`` looks into each frame."""
    opened = [
        await connect(url, additional_headers=headers, compression=None, max_size=None) for _ in range(count)
    ]
    watching = [Viewer(connection, is_deep=is_deep) for connection in opened]
    tasks = [asyncio.create_task(viewer.run()) for viewer in watching]
    try:
        yield watching
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(connection.close() for connection in opened))


def frozen(port: int, path: str, headers: dict[str, str]) -> socket.socket:
    """Open a socket that nobody will ever read: not even the reply to its handshake."""
    lines = {
        "Host": f"127.0.0.1:{port}", "Upgrade": "websocket", "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", **headers,
    }  # fmt: skip
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.connect(("127.0.0.1", port))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    opened.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
    return opened


async def until(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait for a condition; tell whether it came true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
