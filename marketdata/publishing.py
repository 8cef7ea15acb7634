"""Redis publications for other programs.

``prices:{symbol}`` carries the latest price of a symbol, at most five times a second;
anything else is published as it comes. A program that was not listening has missed it: the
LTP cache and the database hold what is true.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis

from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from marketdata.domain.ticks import Tick
from marketdata.ltp import CHUNK, price_text
from marketdata.redis_client import ERRORS, Outage, connect, publish_all

PUBLISH_S = 0.2
WAITING_MAX = 1000


class RedisPublisher:
    """Publishes in the background. ``publish`` may come from any thread and returns at once.

    Without a URL nothing is published.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._redis: Redis | None = connect(url) if url else None
        self._clock = clock or SystemClock()
        self._prices: dict[str, Tick] = {}
        self._messages: deque[tuple[str, str]] = deque(maxlen=WAITING_MAX)
        self._outage = Outage("publishing to other programs")
        self._under_way = asyncio.Lock()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.get_ident()

    def on_ticks(self, user_id: int, ticks: Iterable[Tick], feed: int = 0) -> None:
        """Mark prices to be published."""
        prices = self._prices
        for tick in ticks:
            prices[tick.symbol] = tick

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        """Publish ``message`` as JSON on ``channel``, soon. Never raises."""
        self._messages.append((channel, json.dumps(message, default=str)))
        if self._loop is None or threading.get_ident() == self._thread:
            self._news.set()
            return
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # the loop is closed: the process is ending
            return

    async def flush(self) -> None:
        """Publish what is waiting: messages first, then prices."""
        async with self._under_way:
            await self._send_messages()
            waiting, self._prices = self._prices, {}
            batch = [(f"prices:{tick.symbol}", price_update(tick)) for tick in waiting.values()]
            for start in range(0, len(batch), CHUNK):
                if not await self._send(batch[start : start + CHUNK]):
                    return

    async def run(self) -> None:
        """Publish prices five times a second, messages at once, until cancelled."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_prices(), name="publish-prices")
            tasks.create_task(self._run_messages(), name="publish-messages")

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()

    async def _run_prices(self) -> None:
        while True:
            await self._clock.sleep(PUBLISH_S)
            await self.flush()

    async def _run_messages(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            async with self._under_way:
                await self._send_messages()

    async def _send_messages(self) -> None:
        batch = [self._messages.popleft() for _ in range(len(self._messages))]
        if batch and not await self._send(batch):
            # Rare, and worth keeping over a restart of Redis. Too many: the oldest go first.
            kept = [*batch, *self._messages][-WAITING_MAX:]
            self._messages.clear()
            self._messages.extend(kept)

    async def _send(self, batch: list[tuple[str, str]]) -> bool:
        if self._redis is None:
            return True
        try:
            await publish_all(self._redis, batch)
        except ERRORS as exc:
            self._outage.failed(exc)
            return False
        self._outage.worked()
        return True


def price_update(tick: Tick) -> str:
    """Return the publication of one price; ``timestamp`` is ISO 8601, the exchange's where known."""
    seconds = tick.received_at if tick.exchange_time is None else tick.exchange_time
    return json.dumps(
        {
            "type": "PRICE_UPDATE",
            "symbol": tick.symbol,
            "ltp": price_text(tick.price),
            "timestamp": datetime.fromtimestamp(seconds, UTC).isoformat(),
        }
    )
