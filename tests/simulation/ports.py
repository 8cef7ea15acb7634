"""The seams at which the engine meets the world: its database thread, its broker's threads, its spool.

Work is done at one instant of made-up time between asking and answering. A process that is killed
before that instant has not done it; one killed after it never learns that it has.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError

from marketdata.database import DatabaseThread
from strategies.domain.breaches import Intent
from strategies.spool import Spool
from tests.simulation.broker import Network
from tests.simulation.log import EventLog
from tests.simulation.loop import Process, VirtualLoop

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class DatabaseState:
    """What is wrong with the database now, the same for every process."""

    is_locked: bool = False
    is_slow: bool = False
    errors: int = 0  # so many of the next units fail
    unsure: int = 0  # so many of the next units are done, and fail all the same


@dataclass
class Trap:
    """Kills its process at the n-th thing it does."""

    units: int = -1
    writes: int = -1
    is_after: bool = False
    spring: Callable[[], None] = lambda: None

    def is_due(self, what: str) -> bool:
        left = getattr(self, what)
        if left > 0:
            setattr(self, what, left - 1)
        return bool(left == 1)


class SimulatedThread(DatabaseThread):
    """One process's database thread: one unit after the other, on the one connection there is."""

    def __init__(self, state: DatabaseState, trap: Trap, rng: random.Random, log: EventLog) -> None:
        self._state = state
        self._trap = trap
        self._rng = rng
        self._log = log
        self._free_at = 0.0

    async def run(self, unit: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        fast, slow = (0.05, 1.5) if self._state.is_slow else (0.001, 0.006)
        begins = max(loop.time(), self._free_at) + self._rng.uniform(fast, slow)
        self._free_at = begins + self._rng.uniform(0.0005, 0.002)
        loop.call_at(begins, self._do, lambda: unit(*args, **kwargs), _name(unit), done)
        return await done

    def close(self) -> None:
        """There is no thread."""

    def _do(self, unit: Callable[[], T], name: str, done: asyncio.Future[T]) -> None:
        killed = self._trap.is_due("units")
        if killed and not self._trap.is_after:
            self._trap.spring()
            return
        try:
            result, error = self._unit(unit, name), None
        except Exception as exc:  # noqa: BLE001 - handed to whoever waits
            result, error = None, exc
            self._log.write(f"db {name} {type(exc).__name__}")
        if killed:
            self._trap.spring()
        else:
            asyncio.get_running_loop().call_at(self._free_at, _give, done, result, error)

    def _unit(self, unit: Callable[[], T], name: str) -> T:
        state = self._state
        if state.is_locked or state.errors:
            state.errors = max(state.errors - 1, 0)
            raise OperationalError("database is locked")
        result = _outside(unit)
        if state.unsure and name in ("commit", "open_exits"):
            state.unsure -= 1
            self._log.fault("db:commit unknown", name)
            raise OperationalError("the connection was lost")
        return result


class SimulatedCalls:
    """Implements ``BrokerCalls``: what a broker is asked takes its time."""

    def __init__(self, network: Network, trap: Trap, rng: random.Random) -> None:
        self._network = network
        self._trap = trap
        self._rng = rng

    async def read(self, call: Callable[[], T]) -> T:
        return await self._run(call, "reads")

    async def write(self, call: Callable[[], T]) -> T:
        return await self._run(call, "writes")

    def close(self) -> None:
        """There are no threads."""

    async def _run(self, call: Callable[[], T], what: str) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        loop.call_later(self._rng.uniform(0.005, 0.08), self._do, call, what, done)
        return await done

    def _do(self, call: Callable[[], T], what: str, done: asyncio.Future[T]) -> None:
        killed = what == "writes" and self._trap.is_due("writes")
        if killed and not self._trap.is_after:
            self._trap.spring()
            return
        try:
            result, error = _outside(call), None
        except Exception as exc:  # noqa: BLE001 - handed to whoever waits
            result, error = None, exc
        if killed:
            self._trap.spring()
            return
        delay = self._network.take() + self._rng.uniform(0.005, 0.12)
        asyncio.get_running_loop().call_later(delay, _give, done, result, error)


def _outside(call: Callable[[], T]) -> T:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.outside(call)


def _give(done: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if done.cancelled():
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)


def _name(unit: Callable[..., object]) -> str:
    inner = getattr(unit, "func", unit)
    return getattr(inner, "__name__", "unit")


class MemorySpool(Spool):
    """A spool whose file is a list that outlives the process."""

    def __init__(self, file: list[Intent]) -> None:
        super().__init__(Path("spool"))
        self._file = file

    def load(self) -> list[Intent]:
        self._kept = {(i.strategy_id, i.epoch): i for i in self._file}
        return list(self._file)

    def _write(self) -> None:
        self._file[:] = self._kept.values()


def dispose(processes: Iterable[Process]) -> None:
    """Take apart what processes left behind; nothing of it can do anything any more."""
    for process in processes:
        process.kill()
        for task in process.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to end like this
                try:
                    task.get_coro().close()
                except Exception:  # noqa: BLE001, S110 - it waits in its clean-up, or touches a closed loop
                    pass
