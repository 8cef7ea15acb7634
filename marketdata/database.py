"""Database work of a long-lived process: in threads of its own, on connections that are looked after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")


def db_unit(unit: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run one unit of database work; a connection that broke earlier is replaced first.

    Without this a connection lost once fails for ever: nothing ends a request here.
    """
    close_old_connections()
    try:
        return unit(*args, **kwargs)
    finally:
        close_old_connections()


class DatabaseThread:
    """One thread and one connection for one purpose, so that nobody waits for another's query."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, unit: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``unit`` in the thread; raises what it raises."""
        call = partial(db_unit, unit, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Finish what was begun, drop the rest, and close the thread's connection."""
        self._pool.submit(connections.close_all)
        self._pool.shutdown(wait=True)
