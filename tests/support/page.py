"""What the live page needs around it in a test: Daphne, and somebody who speaks as the listeners do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer
from django.contrib.auth.models import User
from playwright.async_api import Page, expect

from marketdata.clock import SystemClock
from tests.support.ports import free_ports
from tests.support.processes import Process, python
from tests.support.stopwatch import Stopwatch
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


WATCHES_SILENCE = """() => {
  const line = document.querySelector("#stale");
  window.silence = { noticedAt: null, late: 0 };
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    if (line.hidden) window.silence.late += Math.max(0, now - last - 100);
    last = now;
  }, 50);
  new MutationObserver(() => {
    if (!line.hidden) window.silence.noticedAt = Date.now();
  }).observe(line, { attributes: true });
}"""


class Silence:
    """How soon a page says that its prices are old, on a machine that has a processor for all who take part."""

    def __init__(self, page: Page, web: Web) -> None:
        self._page = page
        self._watch = Stopwatch(web.process.pid)

    @classmethod
    async def watched(cls, page: Page, web: Web) -> Silence:
        """Watch a page that is live."""
        await page.evaluate(WATCHES_SILENCE)
        return cls(page, web)

    async def noticed_s(self, since: float) -> float:
        """Wait until it says so, and return how many seconds after ``since`` (UNIX time) that was."""
        await expect(self._page.locator("#stale")).to_be_visible()
        found = await self._page.evaluate("window.silence")
        return float(found["noticedAt"] - found["late"]) / 1000 - since - self._watch.queued()


class Listeners:
    """Speaks as the listeners' process does: a heartbeat and a price every 0.2 s."""

    def __init__(self, user_id: int, valkey: PrivateValkey) -> None:
        self.group = f"live.user.{user_id}"
        self.layer = RedisPubSubChannelLayer(hosts=[valkey.url], prefix="tickguard")
        self.n = 0
        self.spoke_at = 0.0
        self.prices = {"NSE:INFY": "1499.95"}

    async def run(self) -> None:
        while True:
            now = int(SystemClock().time() * 1000)
            rows = [[symbol, price, now] for symbol, price in self.prices.items()]
            await self.send({"type": "live.prices", "at": now, "prices": rows})
            await self.send({"type": "live.message", "kind": "heartbeat", "body": {}})
            self.spoke_at = SystemClock().time()
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
