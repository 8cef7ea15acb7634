"""How the listeners are; start, stop and restart them."""

from __future__ import annotations

import getpass
import sys
from argparse import ArgumentParser
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count
from django.utils import timezone
from rich.console import Console
from rich.table import Table
from rich.text import Text

from marketdata.evidence import is_connected, is_reported
from marketdata.listening import (
    StillWatching,
    UnknownAccount,
    restart_listening,
    start_listening,
    stop_listening,
)
from marketdata.models import BrokerAccount, Listener

NOT_WELL, BAD_USAGE = 1, 2
_WISHES = {"start": start_listening, "stop": stop_listening, "restart": restart_listening}
_COLUMNS = ("account", "user", "wanted", "state", "worker", "last tick", "watched", "note")
_NOBODY = "no process runs it: start run_listeners"


class Command(BaseCommand):
    """``listeners [start|stop|restart ACCOUNT_ID ...]``.

    Exit codes: 0 all that are to run and have something to watch are connected, or it is done;
    1 they are not, or nothing was changed; 2 the arguments make no sense.
    """

    help = "Show how the listener of each account is, or start, stop or restart some."

    def add_arguments(self, parser: ArgumentParser) -> None:
        wishes = parser.add_subparsers(dest="wish", metavar="start|stop|restart")
        for wish in _WISHES:
            asked = wishes.add_parser(wish, help=f"{wish} the listeners of these accounts")
            asked.add_argument("accounts", nargs="+", type=int, metavar="ACCOUNT_ID")
            if wish == "stop":
                asked.add_argument("--yes", action="store_true", help="even those that watch strategies")

    def handle(self, *_: Any, wish: str | None, **options: Any) -> None:
        if wish is None:
            self._show()
        else:
            self._carry_out(wish, options["accounts"], even_watching=options.get("yes", False))

    def _carry_out(self, wish: str, account_ids: list[int], *, even_watching: bool) -> None:
        allowed = {"even_watching": even_watching} if wish == "stop" else {}
        try:
            done = _WISHES[wish](account_ids, by=f"{getpass.getuser()} at the command line", **allowed)
        except StillWatching as exc:
            self._ask(exc)
            self._carry_out(wish, account_ids, even_watching=True)
            return
        except UnknownAccount as exc:
            raise CommandError(str(exc), returncode=BAD_USAGE) from exc
        for account in done:
            self.stdout.write(f"{account.broker}:{account.pk} {account}: {wish} within 2 seconds")

    def _ask(self, loss: StillWatching) -> None:
        """Have a person at the terminal say yes; anybody else has to have said it with ``--yes``."""
        if not sys.stdin.isatty():
            raise CommandError(f"{loss} Nothing was changed; --yes stops all the same.", returncode=NOT_WELL)
        if input(f"{loss} Stop all the same? [y/N] ").strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was changed.", returncode=NOT_WELL)

    def _show(self) -> None:
        now = timezone.now()
        rows = [_row(account, now) for account in _accounts()]
        if self.stdout.isatty():
            Console().print(_table(rows))
        else:
            for row in rows:
                self.stdout.write(" ".join(f"{name}={cell}" for name, cell in row.named()))
        if not rows:
            self.stdout.write("no accounts yet")
        if not all(row.is_well for row in rows):
            raise SystemExit(NOT_WELL)


@dataclass(frozen=True, slots=True)
class _Row:
    cells: tuple[str, ...]
    is_well: bool

    def named(self) -> list[tuple[str, str]]:
        """Return names and cells that a program can split: no empty ones, quotes where there are spaces."""
        cells = [repr(cell) if " " in cell else cell or "-" for cell in self.cells]
        return list(zip((name.replace(" ", "_") for name in _COLUMNS), cells, strict=True))


def _accounts() -> list[BrokerAccount]:
    rows = BrokerAccount.objects.select_related("user", "listener").without_secrets()
    return list(rows.annotate(wanted=Count("subscriptions__instrument", distinct=True)).order_by("pk"))


def _row(account: Any, now: datetime) -> _Row:
    listener: Listener | None = getattr(account, "listener", None)
    is_to_run = account.desired_state == BrokerAccount.DesiredState.RUNNING
    cells = (
        f"{account.broker}:{account.pk}",
        account.user.get_username(),
        account.desired_state,
        _state(listener, now),
        listener.worker if listener else "",
        _age(listener, now),
        f"{listener.subscription_count if listener else 0}/{account.wanted}",
        _note(account, listener, now) if is_to_run else "",
    )
    return _Row(cells, not is_to_run or not account.wanted or is_connected(listener, now))


def _state(listener: Listener | None, now: datetime) -> str:
    """Return what was reported lately; a process that died cannot take its words back."""
    return listener.state if listener and is_reported(listener, now) else Listener.State.STOPPED.value


def _age(listener: Listener | None, now: datetime) -> str:
    if listener is None or listener.last_tick_at is None:
        return "never"
    return f"{(now - listener.last_tick_at).total_seconds():.1f}s"


def _note(account: BrokerAccount, listener: Listener | None, now: datetime) -> str:
    if listener is None or not is_reported(listener, now):
        return _NOBODY
    if listener.observed_generation < account.generation:
        return "restart asked for"
    return listener.last_error


def _table(rows: list[_Row]) -> Table:
    table = Table(title="Listeners")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right" if heading in ("last tick", "watched") else "left")
    for row in rows:
        table.add_row(*(Text(cell, style="" if row.is_well else "bold dark_orange") for cell in row.cells))
    return table
