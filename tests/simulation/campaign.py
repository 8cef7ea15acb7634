"""Runs many sessions in several processes, says how it gets on, and which seeds went wrong."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from tests.simulation import environment

if TYPE_CHECKING:
    from tests.simulation.session import Result

Job = tuple[int, str]
MODES = ("safety", "liveness")
SAY_EVERY_S = 10.0
LEAST_EPISODES, LEAST_FAULTS = 10, 5
console = Console(soft_wrap=True, highlight=False, markup=False)


def main(arguments: Sequence[str]) -> int:
    """Return 0 when nothing was violated, 1 otherwise."""
    given = _parse(arguments)
    environment.set_up(quick=not given.plain_queries)
    database = environment.template()
    modes = MODES if given.mode == "both" else (given.mode,)
    if given.replay is not None:
        return max(_replay((given.replay, mode), database) for mode in modes)
    seeds = [int(seed) for seed in given.list.split(",")] if given.list else None
    seeds = seeds or list(range(given.first, given.first + given.seeds))
    jobs = [(seed, mode) for seed in seeds for mode in modes]
    return _run(jobs, given.workers, database, digests=given.digests)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many sessions of each mode")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed")
    parser.add_argument("--list", default="", help="these seeds instead, with commas")
    parser.add_argument("--mode", choices=(*MODES, "both"), default="both")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--replay", type=int, help="run one seed and print its log")
    parser.add_argument("--digests", action="store_true", help="print the number that stands for each log")
    parser.add_argument("--plain-queries", action="store_true", help="build the SQL of each query anew: slow")
    return parser.parse_args(arguments)


def _replay(job: Job, database: bytes) -> int:
    from tests.simulation.session import run

    result = run(*job, database, keep_log=True)
    for line in result.lines:
        console.print(line)
    console.print(f"{result.mode} {result.seed}: {result.digest}, {len(result.violations)} violations")
    for text in result.violations:
        console.print(f"  {text}")
    return int(bool(result.violations))


def _one(job: Job, database: bytes) -> Result:
    from tests.simulation.session import run

    return run(*job, database)


@dataclass
class Tally:
    """What all sessions together came to."""

    jobs: int
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    said: float = field(default_factory=time.monotonic)
    counted: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failed: list[Job] = field(default_factory=list)

    def take(self, result: Result) -> None:
        self.done += 1
        self.counted.update(result.counted)
        self.kinds.update(result.kinds)
        is_thin = result.counted["episodes"] < LEAST_EPISODES or result.faults < LEAST_FAULTS
        self.counted["thin sessions"] += is_thin
        if result.violations:
            self.failed.append((result.seed, result.mode))
            texts = " | ".join(result.violations)
            console.print(f"VIOLATION {result.mode} seed {result.seed}: {texts}")

    def say(self) -> None:
        """Say how far it has got, in a pipe every ten seconds."""
        now = time.monotonic()
        if not console.is_terminal and now - self.said >= SAY_EVERY_S:
            self.said, rate = now, self.done / (now - self.began)
            console.print(f"{self.done}/{self.jobs} sessions, {rate:.1f}/s, {len(self.failed)} failed")

    def report(self) -> None:
        took, counted = time.monotonic() - self.began, +self.counted
        episodes = counted.pop("episodes", 0)
        console.print(
            f"{self.done} sessions, {episodes} episodes, {self.kinds.total()} faults, {took:.0f} s, "
            f"{self.done / took:.1f}/s"
        )
        apart = ", ".join(f"{name} {n}" for name, n in sorted(counted.items()))
        console.print(f"counted apart: {apart or 'nothing'}")
        console.print("faults: " + ", ".join(f"{name} {n}" for name, n in self.kinds.most_common()))
        console.print(f"{len(self.failed)} sessions with violations")
        for seed, mode in self.failed:
            console.print(f"  python -m tests.simulation --replay {seed} --mode {mode}")


def _run(jobs: Sequence[Job], workers: int, database: bytes, *, digests: bool) -> int:
    tally = Tally(len(jobs))
    work = partial(_one, database=database)
    bar = Progress(console=console, disable=not console.is_terminal)
    with multiprocessing.get_context("fork").Pool(workers) as pool, bar:
        task = bar.add_task("sessions", total=len(jobs))
        for result in pool.imap(work, jobs, chunksize=2):
            tally.take(result)
            tally.say()
            bar.advance(task)
            if digests:
                console.print(f"{result.mode} {result.seed} {result.digest}")
    tally.report()
    return int(bool(tally.failed))
