"""``python -m tests.soak``: a market day at speed; 0 when nothing was violated, 1 otherwise.

The environment has to be set before Django reads it, so its parts are imported where they are used.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.soak.schedule import Day

BAD_USAGE = 2


def arguments(argv: Sequence[str] | None = None) -> Day:
    """Return the day that was asked for."""
    usual = Day()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=usual.minutes, help="that the day is played in (default %(default)g)"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=usual.rate,
        help="ticks a second, all in all (default %(default)g)",
    )
    parser.add_argument("--instruments", type=int, default=usual.instruments, help="default %(default)s")
    parser.add_argument("--strategies", type=int, default=usual.strategies, help="default %(default)s")
    parser.add_argument("--breaches", type=int, default=usual.breaches, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of prices and schedule (default 1)")
    given = parser.parse_args(argv)
    if not 0 < given.breaches <= given.strategies or given.minutes < 0.75:
        parser.error("there must be breaches, no more than strategies, and three quarters of a minute")
    return Day(**vars(given))


def main(argv: Sequence[str] | None = None) -> int:
    """Play the day; return the exit code."""
    day = arguments(argv)
    from tests import environment

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what it started ends with it
    with tempfile.TemporaryDirectory(prefix="tickguard-soak-") as folder:
        scratch = Path(folder)
        database = scratch / "soak.sqlite3"
        os.environ.update(environment.VARIABLES)
        os.environ["DATABASE_URL"] = f"sqlite:///{database}"
        import django

        django.setup()
        from tests.soak.play import play

        return int(play(day, scratch, database) > 0)


if __name__ == "__main__":
    sys.exit(main())
