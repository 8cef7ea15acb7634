"""The one place where the machine's clock is read."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """The machine's own clock; implements ``domain.clock.Clock``."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
