"""Take over a broker's list of instruments."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from marketdata.accounts import broker_config
from marketdata.brokers import registry
from marketdata.domain.errors import BrokerError
from marketdata.importing import Imported, Step, import_contracts
from marketdata.models import BrokerAccount
from marketdata.ports import BrokerConfig, InstrumentSource

FAILED, BAD_USAGE = 1, 2


class Command(BaseCommand):
    """``import_instruments BROKER [--account ID] [--file CSV] [--force]``.

    Exit codes: 0 done; 1 failed and nothing was changed; 2 the arguments make no sense.
    """

    help = "Take over a broker's list of instruments: download it, or read a file. All or nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("broker", choices=registry.BROKERS)
        parser.add_argument("--account", type=int, metavar="ID", help="download with this account's login")
        parser.add_argument("--file", type=Path, metavar="CSV", help="read this file, download nothing")
        parser.add_argument(
            "--force", action="store_true", help="take a list of less than half the stored rows"
        )

    def handle(
        self, *_: Any, broker: str, account: int | None, file: Path | None, force: bool, **__: Any
    ) -> None:
        config = _config(broker, account)
        source = registry.adapter(broker).instruments
        left_out: Counter[str] = Counter()
        try:
            text = _text(source, config, file)
            with self._progress(text.count("\n")) as on_step:
                contracts = source.contracts(text.splitlines(keepends=True), left_out)
                done = import_contracts(broker, contracts, force=force, on_step=on_step)
        except BrokerError as exc:
            raise CommandError(f"{broker}: {exc}", returncode=FAILED) from exc
        finally:
            for reason, count in left_out.most_common():
                self.stdout.write(f"left out {count:,} rows: {reason}")
        self.stdout.write(self.style.SUCCESS(_summary(broker, done)))

    @contextmanager
    def _progress(self, lines: int) -> Iterator[Step]:
        if not self.stdout.isatty():
            yield lambda what, number: self.stdout.write(f"{what} {number:,} rows")
            return
        columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console()) as progress:
            tasks = {what: progress.add_task(what, total=lines - 1) for what in ("read", "written")}
            yield lambda what, number: progress.update(tasks[what], completed=number)


def _config(broker: str, account: int | None) -> BrokerConfig | None:
    if account is None:
        return None
    row = BrokerAccount.objects.filter(pk=account).first()
    if row is None:
        raise CommandError(f"--account {account}: there is no such account", returncode=BAD_USAGE)
    if row.broker != broker:
        raise CommandError(
            f"--account {account} is an account at {row.broker}, not {broker}", returncode=BAD_USAGE
        )
    return broker_config(row)


def _text(source: InstrumentSource, config: BrokerConfig | None, file: Path | None) -> str:
    if file is None:
        return source.download(config)
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise CommandError(f"--file {file}: {exc.strerror}", returncode=BAD_USAGE) from exc
    except UnicodeDecodeError as exc:
        raise CommandError(f"--file {file}: not UTF-8 text ({exc.reason})", returncode=FAILED) from exc


def _summary(broker: str, done: Imported) -> str:
    return (
        f"{broker}: {done.listed:,} instruments listed; {done.added:,} added, {done.changed:,} changed, "
        f"{done.removed:,} removed, {done.kept:,} kept because something refers to them"
    )
