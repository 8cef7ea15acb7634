"""Plays cells side by side, in lanes forked from one process that has imported everything."""

from __future__ import annotations

import argparse
import gc
import importlib
import multiprocessing
import os
import random
import signal
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from marketdata.crashpoints import POINTS
from tests.crash.matrix import (
    COME_BACKS,
    DATABASES,
    FAULTS,
    Cell,
    doubles,
    singles,
)
from tests.crash.report import Report
from tests.support.simulator import start_simulator

SYMBOLS = (
    ("NSE:INFY", "408065"), ("NSE:RELIANCE", "738561"), ("NSE:SBIN", "779521"), ("NSE:TCS", "2953217"),
    ("NSE:HDFCBANK", "341249"), ("NSE:ICICIBANK", "1270529"),
)  # fmt: skip
"""One for each lane, so that no cell moves another's price; with the tokens they really have."""

_WARM = (
    "kiteconnect", "apprise", "django.contrib.auth.models", "marketdata.brokers.zerodha", "project.runtime",
    "project.management.commands.run_listeners", "rich.live", "tests.crash.play",
)  # fmt: skip


def choose(wanted: argparse.Namespace, rng: random.Random) -> list[Cell]:
    """Return the cells to play, in the order of the seed. Raises ``ValueError`` for a name nobody knows."""
    if wanted.cell:
        return [Cell.parse(name) for name in wanted.cell]
    if not 1 <= wanted.lanes <= len(SYMBOLS):
        raise ValueError(f"--lanes {wanted.lanes}: from 1 to {len(SYMBOLS)}")
    axes = [
        _named(given, known, what)
        for given, known, what in (
            (wanted.databases, DATABASES, "database"), (wanted.points, POINTS, "point"),
            (wanted.faults, FAULTS, "fault"), (wanted.come_backs, COME_BACKS, "come-back"),
        )
    ]  # fmt: skip
    cells = singles(*axes)
    rng.shuffle(cells)
    chosen = cells if wanted.sample is None else cells[: wanted.sample]
    return chosen + doubles(cells, axes[1], wanted.double, rng)


def _named(given: str | None, known: Collection[str], what: str) -> list[str]:
    names = list(known) if given is None else given.split(",")
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no {what} {', '.join(unknown)}: there are {', '.join(known)}")
    return names


def play_all(cells: Sequence[Cell], wanted: argparse.Namespace, scratch: Path, report: Report) -> None:
    """Play every cell and tell the report of each."""
    kinds = sorted({cell.database for cell in cells})
    lanes = max(1, min(wanted.lanes, len(cells)))
    with start_simulator(scratch) as simulator:
        os.environ.update(simulator.env)
        import django

        django.setup()
        from tests.crash.world import world

        _warm_up()
        with world(scratch, kinds) as shared:
            gc.freeze()  # what is here now stays: children need no copy of it
            control = simulator.env["SIMULATOR_CONTROL"]
            with _pool(lanes, shared, control, wanted) as pool:
                futures = [pool.submit(_play, number, cell) for number, cell in enumerate(cells)]
                try:
                    for future in as_completed(futures):
                        report.take(future.result())
                finally:
                    pool.shutdown(cancel_futures=True)


def _pool(lanes: int, shared: object, control: str, wanted: argparse.Namespace) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("fork")
    numbers: SimpleQueue[int] = context.SimpleQueue()
    for number in range(lanes):
        numbers.put(number)
    return ProcessPoolExecutor(lanes, context, _begin, (numbers, shared, control, wanted))


def _warm_up() -> None:
    """Import what a child needs, and have apprise load its hundred plugins, once for all."""
    for module in _WARM:
        importlib.import_module(module)
    from apprise import Apprise

    Apprise.instantiate("json://127.0.0.1")


_here: tuple[object, ...] = ()


def _begin(numbers: SimpleQueue[int], shared: object, control: str, wanted: argparse.Namespace) -> None:
    global _here  # noqa: PLW0603 - a lane is a process of its own
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    from marketdata.simulator.control import SimulatorControl
    from tests.crash.play import Lane
    from tests.crash.world import World

    assert isinstance(shared, World)
    symbol, token = SYMBOLS[numbers.get()]
    keep = wanted.keep.resolve()
    lane = Lane(SimulatorControl(control), symbol, token, shared.alerts_to, keep, wanted.scale, wanted.alert)
    _here = (shared, lane)


def _play(number: int, cell: Cell) -> object:
    from tests.crash.play import Lane, Play
    from tests.crash.world import World

    shared, lane = _here
    assert isinstance(shared, World)
    assert isinstance(lane, Lane)
    client_id = f"C{os.getpid()}N{number}"
    with shared.database(cell.database, client_id.lower()):
        return Play(cell, lane, client_id).run()
