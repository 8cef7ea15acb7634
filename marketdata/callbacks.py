"""Callbacks by event name. Whatever one of them does, the others and the caller go on."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from marketdata.domain.clock import Clock

logger = logging.getLogger(__name__)

_LOG_EVERY_S = 1.0

Callback = Callable[..., Any]


class Callbacks:
    """Who wants to hear what.

    A plain function is called at once, in the order of registration. A coroutine
    function is started as a task: nothing waits for it, so it suits rare events only.
    """

    def __init__(self, events: Iterable[str], clock: Clock) -> None:
        self._registered: dict[str, list[Callback]] = {event: [] for event in events}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._clock = clock
        self._logged_at = float("-inf")
        self.errors = 0

    def register(self, event: str, fn: Callback) -> None:
        """Call ``fn`` at each ``event``.

        Raises:
            ValueError: No such event.
            TypeError: ``fn`` cannot be called.

        """
        if event not in self._registered:
            raise ValueError(f"unknown event {event!r}: use one of {', '.join(self._registered)}")
        if not callable(fn):
            raise TypeError(f"callback for {event} is {fn!r}: pass a function")
        self._registered[event].append(fn)

    def wants(self, event: str) -> bool:
        """Tell whether anybody listens to ``event``."""
        return bool(self._registered[event])

    def emit(self, event: str, *args: Any) -> None:
        """Call everybody who listens to ``event``. Never raises."""
        for fn in self._registered[event]:
            try:
                result = fn(*args)
                if inspect.iscoroutine(result):
                    self._start(event, result)
            except Exception as exc:  # noqa: BLE001 - a callback must not end the feed it hangs on
                self._failed(event, exc)

    def _start(self, event: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)  # the loop alone would let it be collected

        def done(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._failed(event, error)

        task.add_done_callback(done)

    def _failed(self, event: str, error: BaseException) -> None:
        self.errors += 1
        now = self._clock.monotonic()
        if now - self._logged_at >= _LOG_EVERY_S:  # a failing tick callback fails thousands of times a second
            self._logged_at = now
            logger.error("callback for %s failed (%d so far)", event, self.errors, exc_info=error)
