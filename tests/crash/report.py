"""What a run says: progress while it lasts, a table at its end, and a file of the results."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.crash.matrix import Cell

LINE_S = 10.0


class Report:
    """Takes results as they come; not for several threads."""

    def __init__(self, wanted: argparse.Namespace, count: int) -> None:
        from tests.crash.waits import described

        self._wanted = wanted
        self._count = count
        self._began = self._said = time.monotonic()
        self._results: list[Any] = []
        self._console = Console(highlight=False, soft_wrap=True)
        self._say(f"{count} cells, {wanted.lanes} side by side, seed {wanted.seed}")
        self._say(described(wanted.scale))
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self._console, disable=not sys.stdout.isatty(),
        )  # fmt: skip
        self._task = self._progress.add_task("crashing", total=count)
        self._progress.start()

    def take(self, result: Any) -> None:
        """Take how one cell went, and say so where it went wrong."""
        self._results.append(result)
        self._progress.advance(self._task)
        for violation in result.violations:
            self._say(f"VIOLATED {result.cell}: {violation} ({result.folder})")
        now = time.monotonic()
        if not sys.stdout.isatty() and now - self._said >= LINE_S:
            self._said = now
            self._say(f"{len(self._results)} of {self._count} cells after {now - self._began:.0f} s")

    def finish(self) -> int:
        """Show the tables, write the file; return the exit code."""
        self._progress.stop()
        for title, key in (
            ("database", lambda cell: cell.database), ("come-back", lambda cell: cell.come_back),
            ("point", lambda cell: cell.point + ("+" if cell.second else "")), ("fault", lambda cell: cell.fault),
        ):  # fmt: skip
            self._console.print(self._table(title, key))
        self._write()
        bad = self._those(lambda result: bool(result.violations))
        seconds = time.monotonic() - self._began
        self._say(
            f"{len(self._results)} cells in {seconds:.0f} s: {bad} violated, "
            f"{self._those(lambda result: bool(result.excess))} with an excess that the broker's fault explains, "
            f"{self._those(lambda result: not result.is_reached)} without their crash"
        )
        return 1 if bad or len(self._results) < self._count else 0

    def _table(self, title: str, key: Callable[[Cell], str]) -> Table:
        groups: dict[str, list[Any]] = defaultdict(list)
        for result in self._results:
            groups[key(Cell.parse(result.cell))].append(result)
        table = Table(title, "cells", "crashed", "violated", "explained excess", "seconds a cell")
        for name, found in sorted(groups.items(), key=lambda item: (len(item[0]), item[0])):
            table.add_row(name, *map(str, _figures(found)))
        return table

    def _those(self, condition: Callable[[Any], bool]) -> int:
        return sum(map(condition, self._results))

    def _write(self) -> None:
        folder = self._wanted.keep
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps([asdict(result) for result in self._results], indent=1)
        (folder / "results.json").write_text(text)
        self._say(f"results: {folder / 'results.json'}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False)
        sys.stdout.flush()


def _figures(results: Iterable[Any]) -> tuple[int, int, int, int, str]:
    found = list(results)
    mean = sum(result.seconds for result in found) / len(found)
    return (
        len(found),
        sum(result.is_reached for result in found),
        sum(bool(result.violations) for result in found),
        sum(bool(result.excess) for result in found),
        f"{mean:.1f}",
    )
