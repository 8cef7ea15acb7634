"""Redis commands between frame and decision: counted, not reasoned."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable

from marketdata.ltp import LtpCache, LtpWriter
from marketdata.publishing import RedisPublisher
from tests.benchmarks import frames
from tests.benchmarks.figures import Bound, Row, plain_row
from tests.benchmarks.inside import Inside, made
from tests.benchmarks.plan import Plan
from tests.support.valkey import private_valkey


def commands(plan: Plan) -> Iterable[Row]:
    """Count what a real Redis was asked while frames with triggers were decided, outlets wired."""
    with private_valkey() as valkey, valkey.client() as client:
        asked = asyncio.run(_asked(valkey.url, lambda: int(client.info("stats")["total_commands_processed"])))
    note = (
        "frames of 3,000 with 50 triggers, caches and publications wired; INFO's own count, less the asking"
    )
    yield plain_row("redis", "Redis commands between frame and decision", "", [asked], Bound(0, 0), note)


async def _asked(url: str, count) -> int:
    universe = frames.Universe.of(3_000)
    house = Inside(universe, 3_000)
    house.processor._outlets = (LtpWriter(LtpCache(url, 30)), RedisPublisher(url))
    house.warm(made(universe, 3_000, 2))
    rng, now = random.Random(8), int(time.time()) + frames.AHEAD_S
    fallen = dict.fromkeys(rng.sample(universe.tokens, 50), frames.STOP * 100 - 100)
    frame = frames.kite_frame(rng, universe, universe.tokens, (), now, fallen)
    before = count()
    house.take(frame)
    asked = count() - before - 1
    if len(house.breaches) != len(fallen):
        raise AssertionError(f"{len(house.breaches)} of {len(fallen)} stops were triggered")
    return asked
