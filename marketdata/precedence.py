"""What goes first: an order on its way to the broker goes before all that can wait a moment.

They share one processor. A look at the database is some milliseconds of it, and no worse for coming later.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

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
        self._clear_for_threads = threading.Event()
        self._clear_for_threads.set()

    def begin(self, who: object) -> None:
        """Go first from now on, also if that was so already."""
        self._urgent.add(who)
        self._clear.clear()
        self._clear_for_threads.clear()

    def end(self, who: object) -> None:
        """Let the others go."""
        self._urgent.discard(who)
        if not self._urgent:
            self._clear.set()
            self._clear_for_threads.set()

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

    def between_statements(self) -> StatementWrapper:
        """Return what lets urgent work go first in the middle of other work: see ``DatabaseThread``."""
        return PatientStatements(self._clear_for_threads)


StatementWrapper = Callable[[Callable[..., Any], str, Any, bool, Mapping[str, Any]], Any]
"""What Django's ``execute_wrapper`` takes."""


class PatientStatements:
    """Has the statements of one unit wait, a quarter of a second in all: a unit that has begun may take longer than an order.

    In a transaction nothing waits: it may hold what the order needs.
    """

    def __init__(self, clear: threading.Event) -> None:
        self._clear = clear
        self._left_s = HELD_UP_S

    def __call__(
        self, execute: Callable[..., Any], sql: str, values: Any, many: bool, context: Mapping[str, Any]
    ) -> Any:
        """Wait, then execute."""
        if self._left_s > 0 and not self._clear.is_set() and not context["connection"].in_atomic_block:
            began = time.monotonic()
            self._clear.wait(self._left_s)
            self._left_s -= time.monotonic() - began
        return execute(sql, values, many, context)


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
