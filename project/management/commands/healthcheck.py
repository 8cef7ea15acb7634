"""``manage.py healthcheck``: for whoever starts processes again when they are not well."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from project import supervision


class Command(BaseCommand):
    help = (
        "Exit 0 when the processes of this machine are well, otherwise 1 with one line for each reason. "
        "A feed that a broker refuses is no reason: see /health/websocket for that."
    )
    requires_system_checks = ()  # it has to answer whatever else is wrong, and soon

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--listeners", action="store_true", help="only run_listeners")
        which.add_argument("--web", action="store_true", help="only the web process")
        parser.add_argument("--worker", help="only the run_listeners of that name")
        parser.add_argument(
            "--url", default="http://127.0.0.1:8000", help="where the web process is (default: %(default)s)"
        )

    def handle(
        self, *args: Any, listeners: bool, web: bool, worker: str | None, url: str, **options: Any
    ) -> None:
        reasons = _reasons(listeners, web, worker, url.rstrip("/"))
        for reason in reasons:
            self.stderr.write(reason)
        if reasons:
            sys.exit(1)
        for caution in supervision.cautions():
            self.stdout.write(f"caution: {caution}")
        self.stdout.write("ok")


def _reasons(listeners: bool, web: bool, worker: str | None, url: str) -> list[str]:
    """Ask both at once: who is frozen keeps one waiting, and nobody waits for long."""
    asked: list[Iterator[str]] = []
    if not listeners:
        asked.append(supervision.web_troubles(url))
    if web:
        asked.append(supervision.database_trouble())
    else:
        asked.append(supervision.listener_troubles(timezone.now(), worker))
    with ThreadPoolExecutor() as pool:
        return list(chain.from_iterable(pool.map(tuple[str], asked)))
