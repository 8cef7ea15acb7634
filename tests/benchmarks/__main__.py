"""``python -m tests.benchmarks``, which ``manage.py benchmark`` runs: 0 when every gate is kept, 1 otherwise.

The environment has to be set before Django reads it, so its parts are imported where they are used.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Sequence

from tests.benchmarks.plan import Plan

NAMES = (
    "decode", "armed", "instruments", "memory", "growth", "redis", "kite-3000", "kite-100", "kite-mixed", "dhan", "transport",
    "decision", "shipped", "order", "fanout", "restart", "stored", "scaling",
)  # fmt: skip


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="manage.py benchmark", description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=0, help="of each comparison (default 5; quick: 2)")
    parser.add_argument("--quick", action="store_true", help="small and short: does it run, not what is it")
    given = parser.parse_args(argv)
    if given.rounds < 0:
        parser.error("--rounds has to be above 0")
    return given


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments(argv)
    import django

    from tests import environment  # sets it

    django.setup()
    from tests.benchmarks import report
    from tests.benchmarks.figures import Row
    from tests.benchmarks.rows import MEASURES

    plan = Plan(given.rounds or (2 if given.quick else 5), is_quick=given.quick)
    about = report.machine()
    if about["is_noisy"]:
        report.say(f"load is {about['load_before']:.1f}: this run is marked as noisy, read ratios only")
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for name in given.rows or NAMES:
        began = time.monotonic()
        try:
            for row in MEASURES[name](plan):
                rows.append(row)
                report.say(report.line(row))
        except Exception as exc:  # noqa: BLE001 - one row's trouble must not cost the others
            failed[name] = f"{type(exc).__name__}: {exc}"
            report.say(f"{name}: {failed[name]}")
        gc.collect()
        report.say(f"  ({name}: {time.monotonic() - began:.0f} s)")
    report.show(rows, failed)
    if not given.rows and not given.quick:
        report.say(f"written to {report.write(environment.ROOT / 'docs/benchmarks', rows, failed, about)}")
    return int(bool(failed) or any(row.is_missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
