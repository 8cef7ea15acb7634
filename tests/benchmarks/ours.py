"""``python -m tests.benchmarks.ours BROKER INSTRUMENTS ARMED STOPS``: the listener's parts as ``run_listeners`` puts them together.

Feed, gate, monitor, LTP cache, pages and publications are the real ones; what is wanted comes from here and not from
a database, and a breach is written down instead of sold. ``look`` on standard input is answered with what was done.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time

import django


class Ours:
    """One account's feed with everything behind it."""

    def __init__(self, broker: str, instruments: int, armed: int, stops: int) -> None:
        from django.conf import settings

        from marketdata.broadcast import PageBroadcast
        from marketdata.clock import SystemClock
        from marketdata.domain.sessions import Calendar
        from marketdata.feeds import AccountFeed
        from marketdata.ltp import LtpWriter
        from marketdata.manager import NoHooks
        from marketdata.processor import TickProcessor
        from marketdata.publishing import RedisPublisher
        from strategies.domain.breaches import Breach
        from strategies.monitor import StopLossMonitor
        from tests.benchmarks.frames import Universe
        from tests.benchmarks.inside import stops as armed_stops

        self.hits: list[tuple[str, float, float]] = []
        self.triggered: set[int] = set()

        def on_breaches(found: list[Breach]) -> None:
            now = time.time()
            for breach in found:
                self.hits.append((breach.stop.symbol, breach.received_at, now))
                self.triggered.add(breach.stop.strategy_id)

        clock = SystemClock()
        loop = asyncio.get_running_loop()
        monitor = StopLossMonitor(on_breaches, clock, later=loop.call_later)
        cache, pages = LtpWriter(), PageBroadcast("bench")
        publisher = RedisPublisher(settings.REDIS_URL)
        self.processor = TickProcessor(
            monitor=monitor, outlets=[cache, pages, publisher], calendar=Calendar(always=True), clock=clock
        )
        monitor.explain = self.processor.gate.explain  # a breach is handed over with its evidence
        universe = Universe.of(instruments)
        for stop in armed_stops(universe.part(0, armed), stops):
            monitor.arm(stop)
        self.feed = AccountFeed(wanted(broker, universe, armed), self.processor, NoHooks(), clock)
        self.tasks = [loop.create_task(run()) for run in (cache.run, pages.run, publisher.run)]
        gc.collect()
        gc.freeze()

    async def look(self) -> dict[str, object]:
        stats = self.processor.stats()
        hits, self.hits = self.hits, []
        return {
            "ticks": stats.total_ticks,
            "errors": stats.error_count,
            "refused": stats.refused,
            "cpu": time.process_time(),
            "at": time.perf_counter(),
            "triggered": sorted(self.triggered),
            "hits": hits,
            "connected": self.feed.report().health.is_connected,
        }

    async def start(self) -> dict[str, object]:
        return {}

    stop = start


def wanted(broker, universe, armed):
    """Return the feed of an account that is wanted: armed instruments in full, the others for their price."""
    from decimal import Decimal

    from marketdata.domain.ticks import FeedMode
    from marketdata.ports import BrokerConfig
    from marketdata.secret import Secret
    from marketdata.wanted import WantedFeed

    config = BrokerConfig(1, broker, "B1", "key", Secret("secret"), Secret("token"))
    written = str if broker == "zerodha" else (lambda token: f"NSE_EQ:{token >> 8}")
    modes = {
        symbol: FeedMode.FULL if number < armed else FeedMode.LTP
        for number, symbol in enumerate(universe.symbols)
    }
    tokens = {symbol: written(token) for symbol, token in zip(universe.symbols, universe.tokens, strict=True)}
    return WantedFeed(1, config, 0, modes, tokens, dict.fromkeys(universe.symbols, Decimal("0.05")))


async def answer(side) -> None:
    """Do what standard input says until it ends."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    while line := (await lines.readline()).decode().strip():
        print(json.dumps(await getattr(side, line)()), flush=True)


async def main(broker: str, instruments: str, armed: str, stops: str) -> None:
    await answer(Ours(broker, int(instruments), int(armed), int(stops)))


if __name__ == "__main__":
    django.setup()
    asyncio.run(main(*sys.argv[1:]))
