"""Database work of a long-lived process: in threads of its own, on connections that are looked after."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.db import DEFAULT_DB_ALIAS, close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from marketdata.hanging import HangGuard
from marketdata.precedence import Precedence

P = ParamSpec("P")
T = TypeVar("T")

HANG_S = 10.0
"""Nothing here asks a database for work of more than a moment."""


def db_unit(unit: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run one unit of database work; a connection that broke earlier is replaced first.

    Without this a connection lost once fails for ever: nothing ends a request here.
    """
    close_old_connections()
    try:
        return unit(*args, **kwargs)
    finally:
        close_old_connections()


def is_open(raw: Any) -> bool:
    """Tell whether an idle connection to a server is as it was: one that is shut has its end, or a farewell, to be read."""
    if raw is None or raw.closed:
        return False
    waiting = select.poll()
    waiting.register(raw.fileno(), select.POLLIN)
    return not waiting.poll(0)


class DatabaseThread:
    """One thread and one connection for one purpose, so that nobody waits for another's query.

    Args:
        name: Of the thread.
        lock_wait_s: How long SQLite waits for another's lock before it raises; None: as it is set.
        hang_s: After this long without an answer the connection to a server is cut, and the unit raises.
        precedence: Whom units let go first, also between their statements.

    """

    def __init__(
        self,
        name: str,
        *,
        lock_wait_s: float | None = None,
        hang_s: float = HANG_S,
        precedence: Precedence | None = None,
    ) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._guard = HangGuard(name, hang_s)
        self._lock_wait_s = lock_wait_s
        self._precedence = precedence
        self._waiting: object = None  # the connection that was told

    async def run(self, unit: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``unit`` in the thread; raises what it raises."""
        call = partial(self._guarded, partial(unit, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def call(self, unit: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As ``run``, for another thread, which waits for it."""
        return self._pool.submit(self._guarded, partial(unit, *args, **kwargs)).result()

    def close(self) -> None:
        """Finish what was begun, drop the rest, and close the thread's connection."""
        self._pool.submit(connections.close_all)
        self._pool.shutdown(wait=True)
        self._guard.close()

    def _guarded(self, unit: Callable[[], T]) -> T:
        database = connections[DEFAULT_DB_ALIAS]
        with self._guard.watching(database), self._deferring(database):
            return db_unit(self._patiently, database, unit)

    def _deferring(self, database: BaseDatabaseWrapper) -> AbstractContextManager[None]:
        if self._precedence is None:
            return nullcontext()
        return database.execute_wrapper(self._precedence.between_statements())

    def _patiently(self, database: BaseDatabaseWrapper, unit: Callable[[], T]) -> T:
        if database.vendor != "sqlite":
            # Asking a server whether it is there costs as much as a statement of the unit.
            database.health_check_done = is_open(database.connection)  # type: ignore[attr-defined]
            return unit()
        # Opening the file costs as much as a unit does; after a failure it is opened anew all the same.
        database.ensure_connection()
        self._wait_for_locks(database)
        database.close_at = 0.0
        result = unit()
        database.close_at = None
        return result

    def _wait_for_locks(self, database: BaseDatabaseWrapper) -> None:
        if self._lock_wait_s is not None and self._waiting is not database.connection:
            with database.cursor() as cursor:
                cursor.execute(f"PRAGMA busy_timeout = {int(self._lock_wait_s * 1000)}")
            self._waiting = database.connection


class FairDatabaseThread:
    """One thread and one connection that several parties take turns at.

    Units of one lane run in order; between lanes they alternate, so that one party's thousand
    units do not hold up another's one. Lane ``URGENT`` goes before all others.
    """

    URGENT = object()

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread
        self._lanes: dict[object, deque[asyncio.Future[None]]] = {}
        self._is_busy = False

    async def run(self, unit: Callable[[], T], lane: object) -> T:
        """Run ``unit`` when its turn has come; raises what it raises."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes.setdefault(lane, deque()).append(turn)
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given just now: pass it on
                self._pass_on()
            raise
        try:
            return await self._thread.run(unit)
        finally:
            self._pass_on()

    def close(self) -> None:
        """Finish what was begun and close the thread's connection."""
        self._thread.close()

    def _pass_on(self) -> None:
        self._is_busy = False
        self._next()

    def _next(self) -> None:
        while self._lanes and not self._is_busy:
            lane = self.URGENT if self.URGENT in self._lanes else next(iter(self._lanes))
            waiting = self._lanes.pop(lane)
            turn = waiting.popleft()
            if waiting:
                self._lanes[lane] = waiting  # to the end of the round
            if not turn.done():  # whoever waited may have been cancelled
                self._is_busy = True
                turn.set_result(None)
