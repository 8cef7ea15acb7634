"""Enter the exchanges' holidays."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from marketdata.clock import SystemClock
from marketdata.domain.sessions import IST
from marketdata.marketdays import EXCHANGES, seed_year

OLDEST, NEWEST = 2000, 2100
BAD_USAGE = 2


class Command(BaseCommand):
    """``seed_market_days [--year YEAR] [--force]``. Exit codes: 0 done; 2 the year makes no sense."""

    help = "Enter the holidays of NSE and BSE as market days. What is there already stays as it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--year", type=int, help="which; this year by default")
        parser.add_argument(
            "--force", action="store_true", help="also where the year has closed days already"
        )

    def handle(self, *_: Any, year: int | None, force: bool, **__: Any) -> None:
        year = year or datetime.fromtimestamp(SystemClock().time(), UTC).astimezone(IST).year
        if not OLDEST <= year <= NEWEST:
            raise CommandError(f"--year {year}: give one from {OLDEST} to {NEWEST}", returncode=BAD_USAGE)
        count = seed_year(year, force=force)
        self.stdout.write(
            f"{count} market days of {year} entered for {' and '.join(EXCHANGES)}. Special sessions and holidays "
            "announced at short notice are not among them: add those in the admin."
        )
