"""``python -m tests.benchmarks.reference BROKER INSTRUMENTS ARMED STOPS``: the specification's own design, plainly.

Each tick, a hundred of them side by side: one ``SETEX`` of JSON, the strategies of the symbol read from Redis (their
ids, then all of them with one ``MGET``), a comparison of Decimals, one ``PUBLISH``. Frames are read with ``websockets``
and parsed as the brokers' own client libraries do. Kept for the benchmark only.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import django
from redis.asyncio import BlockingConnectionPool, Redis

AT_ONCE = 100
TTL_S = 30


class Reference:
    """Connects on ``start``, lets go of what it has not come to on ``stop``."""

    def __init__(self, broker: str, instruments: str, armed: int, stops: int) -> None:
        from django.conf import settings

        from tests.benchmarks.frames import Universe

        self._redis: Any = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                settings.REDIS_URL, max_connections=AT_ONCE, decode_responses=True
            )
        )
        self._broker = broker
        self._universe = Universe.named(instruments)
        self._armed, self._stops = armed, stops
        self._names = dict(zip(self._universe.tokens, self._universe.symbols, strict=True))
        self._securities = {token >> 8: name for token, name in self._names.items()}
        self._task: asyncio.Task[None] | None = None
        self._ticks = 0
        self._triggered: set[int] = set()

    async def load(self) -> None:
        """Write the strategies down."""
        pipeline = self._redis.pipeline(transaction=False)
        for number in range(self._stops):
            index, nth = number % self._armed, number // self._armed
            symbol = self._universe.symbols[index]
            strategy = {"id": number, "symbol": symbol, "position": "BOUGHT", "sl_triggered": False}
            stop = str(Decimal(self._universe.stops[index] - nth) / 100)
            pipeline.set(f"strategy:{number}", json.dumps({**strategy, "stop_loss": stop}))
            pipeline.sadd(f"strategies:{symbol}", number)
            if number % 2_000 == 0:
                await pipeline.execute()
        await pipeline.execute()

    async def look(self) -> dict[str, object]:
        return {
            "ticks": self._ticks,
            "cpu": time.process_time(),
            "at": time.perf_counter(),
            "triggered": sorted(self._triggered),
            "connected": self._task is not None,
        }

    async def start(self) -> dict[str, object]:
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._listen(connected))
        await connected
        return {}

    async def stop(self) -> dict[str, object]:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return {}

    async def _listen(self, connected: asyncio.Future[None]) -> None:
        from websockets.asyncio.client import connect

        root = os.environ["KITE_FEED_ROOT" if self._broker == "zerodha" else "DHAN_FEED_ROOT"]
        connection = await connect(root, compression=None, max_size=1 << 20, max_queue=4)
        try:
            connected.set_result(None)
            async for frame in connection:
                await self._process(self._parsed(frame))
        finally:
            connection.transport.abort()

    def _parsed(self, frame: Any) -> list[tuple[str, Decimal]]:
        return self._kite(frame) if self._broker == "zerodha" else self._dhan(frame)

    def _kite(self, frame: bytes) -> list[tuple[str, Decimal]]:
        ticks, at = [], 2
        for _ in range(int.from_bytes(frame[:2], "big") if len(frame) > 1 else 0):
            length = int.from_bytes(frame[at : at + 2], "big")
            token, paise = struct.unpack(">II", frame[at + 2 : at + 10])
            ticks.append((self._names[token], Decimal(paise) / 100))
            at += 2 + length
        return ticks

    def _dhan(self, frame: bytes) -> list[tuple[str, Decimal]]:
        if len(frame) < 16:
            return []
        _, _, _, security, price = struct.unpack("<BHBIf", frame[:12])
        return [(self._securities[security], Decimal(f"{price:.2f}"))]

    async def _process(self, ticks: Sequence[tuple[str, Decimal]]) -> None:
        """Take ticks, ``AT_ONCE`` of them side by side."""
        waiting = iter(ticks)
        await asyncio.gather(*(self._work(waiting) for _ in range(min(AT_ONCE, len(ticks)))))

    async def _work(self, waiting: Iterable[tuple[str, Decimal]]) -> None:
        for symbol, price in waiting:
            await self._tick(symbol, price)

    async def _tick(self, symbol: str, price: Decimal) -> None:
        redis, text = self._redis, json.dumps({"ltp": str(price), "timestamp": time.time()})
        await redis.setex(f"ltp:{symbol}", TTL_S, text)
        ids = await redis.smembers(f"strategies:{symbol}")
        for found in await redis.mget([f"strategy:{one}" for one in ids]) if ids else ():
            strategy = json.loads(found)
            if strategy["position"] == "BOUGHT" and price <= Decimal(strategy["stop_loss"]):
                self._triggered.add(strategy["id"])
        await redis.publish(f"prices:{symbol}", text)
        self._ticks += 1


async def main(broker: str, instruments: str, armed: str, stops: str) -> None:
    from tests.benchmarks.ours import answer

    reference = Reference(broker, instruments, int(armed), int(stops))
    await reference.load()
    await answer(reference)


if __name__ == "__main__":
    django.setup()
    asyncio.run(main(*sys.argv[1:]))
