"""A clock that a test moves by hand."""

from __future__ import annotations

import asyncio


class HandClock:
    """Wall and elapsed time move together, and only by ``advance``; sleepers wake in order."""

    def __init__(self, time: float = 1_800_000_000.0) -> None:
        self.now = time
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for due, event in self._sleepers:
            if due <= self.now:
                event.set()
        self._sleepers = [(due, event) for due, event in self._sleepers if due > self.now]

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        event = asyncio.Event()
        self._sleepers.append((self.now + seconds, event))
        await event.wait()
