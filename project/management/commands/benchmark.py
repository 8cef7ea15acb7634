"""``manage.py benchmark``: the house measured beside the specification's own design, from a checkout."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Measure speed side by side with the specification's own design; see docs/benchmarks.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="only these rows")
        parser.add_argument("--rounds", type=int, help="of each comparison")
        parser.add_argument("--quick", action="store_true", help="small and short: does it run")

    def handle(self, *args: Any, rows: list[str], rounds: int | None, quick: bool, **options: Any) -> None:
        if not (settings.BASE_DIR / "tests" / "benchmarks").is_dir():
            raise CommandError("the benchmark is not installed here: run it from a checkout")
        command = [sys.executable, "-m", "tests.benchmarks"]
        command += ["--rows", *rows] if rows else []
        command += ["--rounds", str(rounds)] if rounds else []
        command += ["--quick"] if quick else []
        # A process of its own: its environment is set before Django reads it.
        sys.exit(subprocess.run(command, cwd=settings.BASE_DIR, check=False).returncode)  # noqa: S603 - ours
