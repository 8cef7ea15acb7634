"""How long to wait between attempts, and waiting that can be cut short: a policy is a generator."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerRejected, TryLater

T = TypeVar("T")

FIRST_S = 1.0
CAP_S = 15.0
STABLE_S = 10.0
"""A connection that lived this long starts the delays anew; accept-then-close must not."""
REFUSED_S = 300.0
"""A refusal lasts until a person has done something at the broker's; who knows when that is?"""


def full_jitter(rng: random.Random, *, first_s: float = FIRST_S, cap_s: float = CAP_S) -> Iterator[float]:
    """Yield delays in seconds, without end: each uniform between zero and a doubling bound.

    Full jitter spreads the many clients that a broker's restart throws out at once.
    Start a new generator after a connection that proved stable.
    """
    bound = min(first_s, cap_s)
    while True:
        yield rng.uniform(0, bound)
        bound = min(cap_s, bound * 2)


class Delays:
    """How long to wait before the next attempt, by how the last one ended."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._policy = full_jitter(rng)

    def after(self, error: Exception, lived_s: float) -> float:
        """Return seconds to wait after an attempt that ended with ``error`` after ``lived_s``."""
        if lived_s > STABLE_S:
            self._policy = full_jitter(self._rng)
        delay = next(self._policy)
        if isinstance(error, TryLater):
            return error.after_s + delay
        return REFUSED_S + delay if isinstance(error, BrokerRejected) else delay


async def pause(clock: Clock, seconds: float, *, unless: asyncio.Event) -> None:
    """Wait ``seconds``, or only until ``unless`` is set."""
    await interruptible(clock.sleep(seconds), None, unless=unless)


async def interruptible(work: Coroutine[Any, Any, T], otherwise: T, *, unless: asyncio.Event) -> T:
    """Return what ``work`` returns, or ``otherwise`` as soon as ``unless`` is set; then it is cancelled."""
    working = asyncio.ensure_future(work)
    called = asyncio.ensure_future(unless.wait())
    try:
        await asyncio.wait((working, called), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else otherwise
    finally:
        working.cancel()
        called.cancel()
