"""How long to wait between attempts: a policy is a generator."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

from marketdata.domain.clock import Clock

FIRST_S = 1.0
CAP_S = 15.0


def full_jitter(rng: random.Random, *, first_s: float = FIRST_S, cap_s: float = CAP_S) -> Iterator[float]:
    """Yield delays in seconds, without end: each uniform between zero and a doubling bound.

    Full jitter spreads the many clients that a broker's restart throws out at once.
    Start a new generator after a connection that proved stable.
    """
    bound = min(first_s, cap_s)
    while True:
        yield rng.uniform(0, bound)
        bound = min(cap_s, bound * 2)


async def pause(clock: Clock, seconds: float, *, unless: asyncio.Event) -> None:
    """Wait ``seconds``, or only until ``unless`` is set."""
    sleep = asyncio.ensure_future(clock.sleep(seconds))
    called = asyncio.ensure_future(unless.wait())
    try:
        await asyncio.wait((sleep, called), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleep.cancel()
        called.cancel()
