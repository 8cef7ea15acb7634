"""What goes first: an order on its way to the broker goes before all that can wait a moment.

They share one processor. A look at the database is some milliseconds of it, and no worse for coming later.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from marketdata.domain.clock import Clock

HELD_UP_S = 0.25
"""How long others let it go first; whoever is on the way for longer waits for something else."""


class Deference(Protocol):
    """Work that can wait asks here before it begins."""

    async def wait(self) -> None:
        """Return when nothing urgent is on its way, after a quarter of a second at the latest."""
        ...


class Precedence:
    """Implements ``Deference``; what is urgent says so with ``begin`` and ``end``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._urgent: set[object] = set()
        self._clear = asyncio.Event()
        self._clear.set()

    def begin(self, who: object) -> None:
        """Go first from now on, also if that was so already."""
        self._urgent.add(who)
        self._clear.clear()

    def end(self, who: object) -> None:
        """Let the others go."""
        self._urgent.discard(who)
        if not self._urgent:
            self._clear.set()

    async def wait(self, who: object = None) -> None:
        """Return when nothing urgent is on its way, after a quarter of a second at the latest; ``who`` may be that itself."""
        if self._clear.is_set() or who in self._urgent:
            return
        clear = asyncio.create_task(self._clear.wait())
        late = asyncio.create_task(self._clock.sleep(HELD_UP_S))
        try:
            await asyncio.wait({clear, late}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            clear.cancel()
            late.cancel()


class PatientClock:
    """A clock for work that can wait: whoever sleeps by it wakes when nothing urgent is on its way."""

    def __init__(self, clock: Clock, deference: Deference) -> None:
        self._clock = clock
        self._deference = deference

    def time(self) -> float:
        return self._clock.time()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        await self._deference.wait()
