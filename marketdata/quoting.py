"""Asking for prices where the feed does not bring them, as often as is needed and the broker allows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Protocol

from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerError, LoginExpired

logger = logging.getLogger(__name__)

LOOK_S = 0.5
"""Between two looks at whether something has to be asked for."""
SPACING_S = 1.1
"""Between the beginnings of two requests."""
IN_VAIN_S = 3.0
"""The same after an answer by which nothing could be judged, as while the exchange sleeps."""
LOGGED_OUT_S = 60.0
"""The same after the broker has refused the login: only another one helps."""
ROUTINE_S = 30.0
"""While all is well everything armed is asked for once in so long: a later gap is measured against it."""


class Ask(Protocol):
    """Judges armed instruments by quotes."""

    def __call__(self, symbols: Collection[str] | None, *, is_gap: bool) -> Awaitable[bool]:
        """Judge ``symbols`` (None: all, those just armed included); tell whether any could be judged.

        ``is_gap``: they were out of sight before. Raises ``BrokerError``.
        """
        ...


class Quoting:
    """A task of its own, one request at a time.

    Args:
        name: For the log.
        due: Tells which symbols have to be asked for now.
        ask: Asks for them.
        told: Takes how the last request went: its error, or None.

    """

    def __init__(
        self,
        name: str,
        due: Callable[[], Collection[str]],
        ask: Ask,
        told: Callable[[Exception | None], None],
        clock: Clock,
    ) -> None:
        self._name = name
        self._due = due
        self._ask = ask
        self._told = told
        self._clock = clock
        self._wants_all = False
        self._wake = asyncio.Event()
        self._not_before = clock.monotonic()
        self._routine_at = self._not_before + ROUTINE_S
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"quotes of {name}")

    def ask_for_all(self) -> None:
        """Have everything armed judged soon, until it has worked: it may have been out of sight."""
        self._wants_all = True
        self._not_before = min(self._not_before, self._clock.monotonic() + SPACING_S)
        self._wake.set()

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    # --- inside ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except Exception:
                logger.exception("%s: whether to ask for quotes could not be decided", self._name)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            self._wake.clear()

    async def _look(self) -> None:
        now = self._clock.monotonic()
        if now < self._not_before:
            return
        if self._wants_all:
            self._wants_all = False  # what is asked for from now on is another wish
            self._wants_all = not await self._try(None, is_gap=True) or self._wants_all
        elif symbols := self._due():
            await self._try(symbols, is_gap=True)
        elif now >= self._routine_at:
            await self._try(None, is_gap=False)

    async def _try(self, symbols: Collection[str] | None, *, is_gap: bool) -> bool:
        """Ask once; return False when it has to be asked again."""
        began = self._clock.monotonic()
        error: Exception | None = None
        pause_s = SPACING_S
        try:
            was_judged = await self._ask(symbols, is_gap=is_gap)
            pause_s = SPACING_S if was_judged else IN_VAIN_S
            if symbols is None:
                self._routine_at = began + ROUTINE_S
        except LoginExpired as exc:
            pause_s, error = LOGGED_OUT_S, exc
        except BrokerError as exc:
            logger.warning("%s: quotes were asked for: %s", self._name, exc)
            error = exc
        except Exception as exc:
            logger.exception("%s: quotes were asked for", self._name)
            error = exc
        if self._wants_all:  # wished meanwhile, perhaps for a new login: what this one was told is over
            pause_s = SPACING_S
        self._not_before = began + pause_s
        self._told(error)
        return error is None
