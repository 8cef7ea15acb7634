"""``python -m tests.benchmarks.ticker``: a listeners' process that has nothing but prices to tell.

An open loop: each frame has an intended time, its ticks carry that time, and one that is late is sent late
with it. The way out is the shipped one: ``PageBroadcast`` and the channel layer. SIGTERM ends it with a
burst, after which it prints the true last price of every symbol and how late it has been, as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import time

from channels_redis.pubsub import RedisPubSubChannelLayer

from marketdata.broadcast import PageBroadcast
from marketdata.domain.ticks import Tick
from marketdata.ltp import price_text
from tests.benchmarks.viewers import symbols

FRAME_S = 0.01
UNIT = 10_000_000
BURST = 50_000


class Ticker:
    """Prices that walk, in an order drawn by a seed."""

    def __init__(self, count: int, seed: int) -> None:
        self._random = random.Random(seed)
        self.prices = dict.fromkeys(symbols(count), 1500 * UNIT)
        self._names = list(self.prices)

    def frame(self, size: int, at: float) -> list[Tick]:
        ticks = []
        for symbol in self._random.choices(self._names, k=size):
            price = self.prices[symbol] = self.prices[symbol] + self._random.choice((-1, 1)) * UNIT // 20
            ticks.append(Tick(symbol, price, at, int(at)))
        return ticks


async def play(pages: PageBroadcast, user_id: int, ticker: Ticker, rate: float) -> float:
    """Tick until SIGTERM, then burst; return the 99th percentile of how late frames were, in seconds."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    pages.set_users([user_id])
    running = asyncio.create_task(pages.run())
    late, due = [], time.time()
    print("ticking", flush=True)
    while not over.is_set():
        due += FRAME_S
        await asyncio.sleep(due - time.time())
        late.append(time.time() - due)
        pages.on_ticks(user_id, ticker.frame(int(rate * FRAME_S), due))
    for _ in range(BURST // 1000):
        pages.on_ticks(user_id, ticker.frame(1000, time.time()))
    await pages.flush()
    running.cancel()
    return sorted(late)[int(len(late) * 0.99)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ticker", description=__doc__)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--user", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="ticks a second")
    parser.add_argument("--symbols", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    ticker = Ticker(given.symbols, given.seed)

    async def run() -> float:
        layer = RedisPubSubChannelLayer(hosts=[given.redis], prefix="tickguard")
        try:
            return await play(PageBroadcast("ticker", layer=layer), given.user, ticker, given.rate)
        finally:
            await layer.flush()

    late = asyncio.run(run())
    truth = {symbol: price_text(price) for symbol, price in ticker.prices.items()}
    print(json.dumps({"late_p99_ms": round(late * 1000, 1), "prices": truth}), flush=True)


if __name__ == "__main__":
    main()
