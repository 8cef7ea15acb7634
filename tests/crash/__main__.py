"""``python -m tests.crash``: play the crash-point matrix; 0 when nothing was violated, 1 otherwise.

The environment has to be set before Django reads it, so its parts are imported where they are used.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

BAD_USAGE = 2
DEFAULT_SCALE = 0.05


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--databases", help="sqlite,postgres (default: those that are here)")
    parser.add_argument("--points", help="CP1,CP7,… (default: all)")
    parser.add_argument("--faults", help="names, by commas (default: all)")
    parser.add_argument("--come-backs", help="restart,take-over,stop-continue (default: all)")
    parser.add_argument("--cell", action="append", default=[], help="play this one, by its name; repeatable")
    parser.add_argument("--sample", type=int, metavar="N", help="play N of the cells, chosen by the seed")
    parser.add_argument("--double", type=int, default=0, metavar="N", help="and N with a second crash")
    parser.add_argument("--seed", type=int, default=1, help="chooses and orders the cells (default 1)")
    parser.add_argument("--lanes", type=int, default=2 * (os.cpu_count() or 1), help="cells side by side")
    parser.add_argument("--scale", type=float, default=DEFAULT_SCALE, help="of the engine's waits")
    parser.add_argument(
        "--alert", type=float, default=2.0, metavar="S", help="what needs a person is told within this"
    )
    parser.add_argument("--keep", type=Path, default=Path(".run/crash"), help="folder of the results")
    parser.add_argument("--list", action="store_true", help="name the cells and play none")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Play what is asked for; return the exit code."""
    wanted = arguments(argv)
    from tests import environment
    from tests.support.postgres import NOT_HERE, PROGRAMS

    os.environ.update(environment.VARIABLES)
    from tests.crash.matrix import POSTGRES
    from tests.crash.report import Report
    from tests.crash.runner import choose, play_all

    try:
        cells = choose(wanted, random.Random(wanted.seed))
    except ValueError as exc:
        print(f"error: {exc}", file=sys.stderr)  # noqa: T201
        return BAD_USAGE
    if PROGRAMS is None and any(cell.database == POSTGRES for cell in cells):
        if wanted.databases or wanted.cell:
            print(f"error: {NOT_HERE}", file=sys.stderr)  # noqa: T201
            return BAD_USAGE
        print(f"SKIPPED: the matrix on PostgreSQL: {NOT_HERE}", flush=True)  # noqa: T201
        cells = [cell for cell in cells if cell.database != POSTGRES]
    if wanted.list:
        print("\n".join(cell.name for cell in cells))  # noqa: T201
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what it started ends with it
    with tempfile.TemporaryDirectory(prefix="tickguard-crash-") as scratch:
        report = Report(wanted, len(cells))
        play_all(cells, wanted, Path(scratch), report)
        return report.finish()


if __name__ == "__main__":
    sys.exit(main())
