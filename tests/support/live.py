"""A page's end of the live socket, without a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from project.asgi import application

HOST, ORIGIN = "testserver", "http://testserver"


def session_cookie(user: User) -> str:
    """Log ``user`` in and return the cookie header of that session."""
    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def join(half: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Return a snapshot with the part that came directly after it."""
    assert (part["type"], part["seq"]) == ("part", half["seq"] + 1), "nothing comes between"
    added = {name: half[name] + rows for name, rows in part.items() if isinstance(rows, list)}
    return {**half, **added, "seq": part["seq"], "more": part["more"]}


class ManualClock:
    """A clock that stands still until it is told."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError("a page's writer waits on its own events")


class LivePage:
    """One open socket; ``async with LivePage(...) as page``."""

    def __init__(
        self,
        cookie: str = "",
        *,
        path: str = "/ws/live/",
        origin: str | None = ORIGIN,
        host: str = HOST,
        app: Any = application,
    ) -> None:
        pairs = {"host": host, "origin": origin, "cookie": cookie}
        headers = [(name.encode(), value.encode()) for name, value in pairs.items() if value]
        self.socket = WebsocketCommunicator(app, path, headers)
        self.accepted = False

    async def __aenter__(self) -> Self:
        self.accepted, _ = await self.socket.connect(timeout=5)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.disconnect()

    async def send(self, message: object) -> None:
        await self.socket.send_to(text_data=json.dumps(message))

    async def next(self, timeout: float = 3.0) -> dict[str, Any]:
        """Return the next frame of any type, a snapshot with all its parts."""
        frame = await self._frame(timeout)
        while frame.get("more"):
            frame = join(frame, await self._frame(timeout))
        return frame

    async def _frame(self, timeout: float) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await self.socket.receive_from(timeout))
        return frame

    async def next_of(self, *kinds: str, timeout: float = 3.0) -> dict[str, Any]:
        """Skip to the next frame of one of these types and return it."""
        async with asyncio.timeout(timeout):
            while True:
                frame = await self.next(timeout)
                if frame["type"] in kinds:
                    return frame

    async def close_code(self, timeout: float = 5.0) -> int:
        """Skip what is still sent and return the code the server closed with."""
        async with asyncio.timeout(timeout):
            while True:
                output = await self.socket.receive_output(timeout)
                if output["type"] == "websocket.close":
                    return int(output["code"])


async def send_prices(user_id: int, n: int, prices: Sequence[Sequence[Any]], source: str = "worker") -> None:
    """Send what the listeners' process sends."""
    rows = [list(row) for row in prices]
    await _send(user_id, {"type": "live.prices", "source": source, "n": n, "at": 0, "prices": rows})


async def send_news(user_id: int, n: int, kind: str, body: object, source: str = "worker") -> None:
    """Send news as the listeners' process does."""
    await _send(user_id, {"type": "live.message", "source": source, "n": n, "kind": kind, "body": body})


async def _send(user_id: int, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(f"live.user.{user_id}", message)
