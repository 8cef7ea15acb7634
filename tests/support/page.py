"""What the live page needs around it in a test: Daphne, and somebody who speaks as the listeners do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer
from django.contrib.auth.models import User

from marketdata.clock import SystemClock
from tests.support.processes import Process, python
from tests.support.simulator import free_ports
from tests.support.valkey import PrivateValkey


class Web:
    """Daphne on a port that stays the same when it is started again."""

    def __init__(self, valkey: PrivateValkey) -> None:
        [self.port] = free_ports(1)
        self.root = f"http://127.0.0.1:{self.port}"
        self.env = {"REDIS_URL": valkey.url}
        self.command = ("-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port), "project.asgi:application")

    def start(self) -> Process:
        self._running = python(*self.command, env=self.env)
        self.process = self._running.__enter__()
        self.process.wait_for("Listening on TCP", 60)
        return self.process

    def stop(self) -> None:
        self._running.__exit__(None, None, None)


class Listeners:
    """Speaks as the listeners' process does: a heartbeat and a price every 0.2 s."""

    def __init__(self, user_id: int, valkey: PrivateValkey) -> None:
        self.group = f"live.user.{user_id}"
        self.layer = RedisPubSubChannelLayer(hosts=[valkey.url], prefix="tickguard")
        self.n = 0
        self.prices = {"NSE:INFY": "1499.95"}

    async def run(self) -> None:
        while True:
            now = int(SystemClock().time() * 1000)
            rows = [[symbol, price, now] for symbol, price in self.prices.items()]
            await self.send({"type": "live.prices", "at": now, "prices": rows})
            await self.send({"type": "live.message", "kind": "heartbeat", "body": {}})
            await asyncio.sleep(0.2)

    async def send(self, message: dict[str, Any]) -> None:
        self.n += 1
        await self.layer.group_send(self.group, {**message, "source": "worker", "n": self.n})


@asynccontextmanager
async def speaking(user: User, valkey: PrivateValkey) -> AsyncIterator[Listeners]:
    listeners = Listeners(user.pk, valkey)
    task = asyncio.create_task(listeners.run())
    try:
        yield listeners
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await listeners.layer.flush()
