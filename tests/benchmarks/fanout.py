"""``python -m tests.benchmarks.fanout``: what it costs to show prices to many browsers, and whom a frozen one costs.

Real processes over real sockets: Valkey, Daphne, a ticker (``ticker.py``), and here the viewers. Two parts:

* *cost*: the shipped stream and a stock Channels consumer in the same Daphne, by turns. Both are told the same frames
  of 50 prices, at the pace of the listeners. Deliveries a second of the server's processor time, acknowledgements, heartbeats
  and looks at the database included.
* *delay*: from a tick's intended time to the viewer's message, at 10,000 ticks a second, with and without a
  frozen viewer among them by turns; then a burst, after which every viewer has to end on every true last price.

Prints medians, spread and ratios, then one line of JSON. Exit code 1 when a gate is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests import environment
from tests.benchmarks.figures import Bound, Row, plain_row, ratio_row
from tests.benchmarks.plan import Plan
from tests.benchmarks.report import line
from tests.benchmarks.viewers import Viewer, frozen, symbols, until, viewers
from tests.benchmarks.web import Server, house
from tests.support.processes import python

NAME = "fanout"
INSTRUMENTS = 500
IN_A_FRAME = 50
FRAME_S = 0.2  # the listeners' pace
OURS, STOCK = "/ws/live/", "/stock/"
MB = 2**20


Told = dict[str, list[float]]
"""The figures of all rounds, by name."""


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


# --- cost -------------------------------------------------------------------------------


async def cost(server: Server, layer: Any, count: int, rounds: int, seconds: float) -> Told:
    stock, ours = [], []
    for _ in range(rounds):
        stock.append(await _deliveries(server, layer, STOCK, count, seconds))
        ours.append(await _deliveries(server, layer, OURS, count, seconds))
        say(f"stock {stock[-1]:,.0f}, shipped {ours[-1]:,.0f} deliveries per core-second")
    return {"stock": stock, "shipped": ours}


async def _deliveries(server: Server, layer: Any, path: str, count: int, seconds: float) -> float:
    """Return how many price messages one second of the server's processor delivers."""
    frames = max(1, int(seconds / FRAME_S))
    async with viewers(server.url + path, count, server.headers, is_deep=False) as watching:
        await _shown(layer, server, path, watching)
        for viewer in watching:
            viewer.forget()
        before = server.processor_s()
        for n in range(frames):
            started = time.monotonic()
            await _send(layer, server, path, n)
            await asyncio.sleep(max(0.0, started + FRAME_S - time.monotonic()))
        await _told(watching, frames - 1)
        used = server.processor_s() - before
    deliveries = sum(viewer.deliveries for viewer in watching)
    # Equal work: every viewer was told every frame; where two met, the latest of both counts as one.
    assert frames * count * 0.9 <= deliveries <= frames * count
    return deliveries / used


async def _shown(layer: Any, server: Server, path: str, watching: Sequence[Viewer]) -> None:
    """Wait until everybody is told prices."""
    n = 1_000_000
    while not all(viewer.last for viewer in watching):
        await _send(layer, server, path, n := n + 1)
        await asyncio.sleep(FRAME_S)
    await _told(watching, n)


async def _told(watching: Sequence[Viewer], n: int) -> None:
    """Wait until everybody is told frame ``n``."""
    is_told = await until(lambda: all(f'"{n}.05"' in viewer.last for viewer in watching), 120)
    assert is_told, "not every viewer was told the last frame"


async def _send(layer: Any, server: Server, path: str, n: int) -> None:
    now = int(time.time() * 1000)
    rows = [[symbol, f"{n}.05", now] for symbol in symbols(IN_A_FRAME)]
    if path == STOCK:
        await layer.group_send("stock", {"type": "stock.prices", "at": now, "prices": rows})
    else:
        message = {"type": "live.prices", "source": "bench", "n": _numbers[path], "at": now, "prices": rows}
        _numbers[path] += 1
        await layer.group_send(f"live.user.{server.user_id}", message)


_numbers: Counter[str] = Counter()

# --- delay ------------------------------------------------------------------------------


async def delay(server: Server, count: int, rounds: int, seconds: float, rate: float) -> Told:
    alone, beside, growth = [], [], []
    ticker = python(
        "-m", "tests.benchmarks.ticker", "--redis", server.redis, "--user", str(server.user_id),
        "--rate", str(rate), "--symbols", str(INSTRUMENTS),
    )  # fmt: skip
    with ticker as process:
        process.wait_for("ticking", 60)
        async with viewers(server.url + OURS, count, server.headers, is_deep=True) as watching:
            await until(lambda: all(viewer.deliveries > 10 for viewer in watching), 30)
            for _ in range(rounds):
                alone.append(await _p99(watching, seconds))
                before = server.memory()
                with frozen(server.port, OURS, server.headers):
                    beside.append(await _p99(watching, seconds))
                growth.append((server.memory() - before) / MB)
                say(f"p99 {alone[-1]:.0f} ms, with a frozen viewer beside them {beside[-1]:.0f} ms")
            process.stop(30)
            told = json.loads(process.lines[-1])
            true = await _true(watching, told["prices"])
    return {
        "alone": alone,
        "beside": beside,
        "growth": growth,
        "late": [told["late_p99_ms"]],
        "true": [true],
    }


async def _p99(watching: Sequence[Viewer], seconds: float) -> float:
    await asyncio.sleep(0.5)
    for viewer in watching:
        viewer.forget()
    await asyncio.sleep(seconds)
    ages: Counter[int] = Counter()
    for viewer in watching:
        ages.update(viewer.ages_ms)
    return _percentile(ages, 0.99)


def _percentile(counted: Counter[int], share: float) -> float:
    left = counted.total() * share
    for value in sorted(counted):
        left -= counted[value]
        if left <= 0:
            return value
    raise AssertionError("nobody was told anything")


async def _true(watching: Sequence[Viewer], truth: dict[str, str]) -> float:
    """Return the share of symbols, of all viewers, that end on the true last price, in per cent."""
    await until(lambda: all(viewer.prices == truth for viewer in watching), 10)
    right = sum(viewer.prices.get(symbol) == price for viewer in watching for symbol, price in truth.items())
    return 100 * right / (len(truth) * len(watching))


async def measure(given: argparse.Namespace) -> Told:
    from channels_redis.pubsub import RedisPubSubChannelLayer

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(house(INSTRUMENTS))
        layer = RedisPubSubChannelLayer(hosts=[server.redis], prefix="tickguard")
        stack.push_async_callback(layer.flush)
        costs = await cost(server, layer, given.viewers, given.rounds, given.seconds)
        return costs | await delay(server, given.watching, given.rounds, given.seconds, given.rate)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fanout", description=__doc__)
    parser.add_argument("--viewers", type=int, default=200, help="of the cost (default %(default)s)")
    parser.add_argument("--watching", type=int, default=50, help="viewers of the delay (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a round (default %(default)s)")
    parser.add_argument("--rate", type=float, default=10_000, help="ticks a second (default %(default)s)")
    return parser.parse_args(argv)


def rows(told: Told) -> list[Row]:
    """Return the figures with their gates and aims."""
    ticks = f"10,000 ticks/s on {INSTRUMENTS} LTP instruments; the ticker itself was {told['late'][0]:.0f} ms late at p99"
    memory = f"; the server's memory grew by {max(told['growth']):.1f} MB at most"
    return [
        ratio_row(
            NAME, "deliveries ÷ stock consumer", "/core-s", told["shipped"], told["stock"],
            Bound(2, 8, is_most=False), f"frames of {IN_A_FRAME} prices, one server and channel layer, acks and heartbeats counted",
        ),
        plain_row(NAME, "tick → viewer's message, p99", "ms", told["alone"], Bound(300, FRAME_S * 1000 + 20), ticks),
        plain_row(NAME, "symbols on their true last price after a burst", "%", told["true"], Bound(100, is_most=False), "all viewers"),
        ratio_row(
            NAME, "the same p99 beside a frozen viewer ÷ without", "ms", told["beside"], told["alone"],
            Bound(1.1), ticks + memory,
        ),
    ]  # fmt: skip


def fan_out(plan: Plan) -> list[Row]:
    """Measure in a process of its own: it needs a database that other processes read too."""
    size = ("--viewers", "40", "--watching", "10") if plan.is_quick else ()
    command = [sys.executable, "-m", "tests.benchmarks.fanout", "--rounds", str(plan.rounds), *size]
    done = subprocess.run(command, cwd=environment.ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return rows(json.loads(done.stdout.splitlines()[-1]))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    given = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what it started ends with it
    with tempfile.TemporaryDirectory(prefix="tickguard-fanout-") as folder:
        scratch = Path(folder)
        # As in production: with DEBUG each connection remembers its queries.
        os.environ.update(
            {**environment.VARIABLES, "DEBUG": "0", "DATABASE_URL": f"sqlite:///{scratch}/bench.sqlite3"}
        )
        import django

        django.setup()
        load = os.getloadavg()[0]
        told = asyncio.run(measure(given))
    found = rows(told)
    print(*map(line, found), sep="\n")
    print(f"load at the start {load:.1f}, at the end {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    print(json.dumps(told))
    return int(any(row.is_missed for row in found))


if __name__ == "__main__":
    sys.exit(main())
