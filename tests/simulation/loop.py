"""An event loop whose time is made up, and processes on it that can be killed and stopped.

When nothing is ready the clock jumps to the next timer: an hour costs what happens in it. There is
no socket, no thread and no real clock, and what is ready runs in the order it became ready, so
the same beginning always comes to the same end.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

_current: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """What runs together and dies together: every task begun in its context is part of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_stopped = False
        self.tasks: list[asyncio.Task[Any]] = []
        self._held: list[asyncio.Handle] = []
        self._context = copy_context()
        self._context.run(_current.set, self)

    @property
    def context(self) -> Context:
        """Return a context for a new task or callback of this process."""
        return self._context.copy()

    def kill(self) -> None:
        """End it as SIGKILL does: nothing of it ever runs again."""
        self.is_dead = True
        self._held.clear()

    def stop(self) -> None:
        """Hold it as SIGSTOP does, wherever it is."""
        self.is_stopped = True

    def go_on(self, loop: VirtualLoop) -> None:
        """Let it run again as SIGCONT does: all that came due meanwhile is due at once."""
        self.is_stopped = False
        held, self._held = self._held, []
        loop.resume(held)

    def keep(self, handle: asyncio.Handle) -> bool:
        """Tell whether the handle must not run now."""
        if self.is_stopped and not self.is_dead:
            self._held.append(handle)
        return self.is_dead or self.is_stopped


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks of live processes in order; time passes only when there is nothing to run."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self.set_task_factory(_task)

    def time(self) -> float:
        return self._now

    def resume(self, handles: list[asyncio.Handle]) -> None:
        """Run handles that were held, before anything else that becomes ready."""
        self._ready.extend(handles)

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Have something of the world outside done at a time."""
        self.call_at(max(when, self._now), self.outside, call, context=Context())

    def outside(self, call: Callable[[], T]) -> T:
        """Call something as if there was no loop: Django keeps a connection for each task otherwise."""
        asyncio._set_running_loop(None)
        try:
            return call()
        finally:
            asyncio._set_running_loop(self)

    def in_process(self, process: Process, call: Callable[[], object]) -> None:
        """Have something done inside a process; it is lost if the process is dead."""
        if not process.is_dead:
            self.call_soon(call, context=process.context)

    def start(self, process: Process, work: Coroutine[Any, Any, Any]) -> None:
        """Begin the work of a process."""
        self.create_task(work, context=process.context)

    def _run_once(self) -> None:
        if not self._ready:
            self._pass_time()
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            process = handle._context.get(_current)  # type: ignore[attr-defined]
            if not handle.cancelled() and not (process is not None and process.keep(handle)):
                handle._run()

    def _pass_time(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)
        if not self._scheduled:
            raise RuntimeError("the simulation waits for something that never comes")
        self._now = max(self._now, self._scheduled[0].when())
        while self._scheduled and self._scheduled[0].when() <= self._now:
            self._ready.append(heapq.heappop(self._scheduled))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is dropped when its time comes."""

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


def _task(loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
    process = (context.get(_current) if context is not None else None) or _current.get()
    if process is not None:
        process.tasks.append(task)
    return task


class VirtualClock:
    """The machine's clock; implements ``Clock``. ``shift`` is by how much the wall clock was set."""

    def __init__(self, loop: VirtualLoop, epoch: float) -> None:
        self._loop = loop
        self._epoch = epoch
        self.shift = 0.0

    def time(self) -> float:
        return self._epoch + self.shift + self._loop.time()

    def monotonic(self) -> float:
        return 1_000.0 + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
