"""``manage.py run_listeners``: feeds, stops and exits, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from marketdata.clock import SystemClock
from marketdata.processlock import AlreadyRunning, ProcessLock
from project import storage
from project.console import display
from project.runtime import House
from project.workers import BadWorkerName, claim
from strategies.channels import BadTarget

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Command(BaseCommand):
    help = "Run the listeners of every account that is to run, the stop-loss monitor and the exits."
    requires_system_checks = ()  # they load all the pages, for half a second in which no stop is watched

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--worker", default=socket.gethostname()[:60], help="name of this process in health and logs"
        )

    def handle(self, *args: Any, worker: str, **options: Any) -> None:
        lock, name = self._claim(worker)
        try:
            asyncio.run(self._run(name, look_at_storage()))
        except BadTarget as exc:
            raise CommandError(str(exc)) from exc
        finally:
            lock.release()

    def _claim(self, worker: str) -> tuple[ProcessLock, str]:
        try:
            return claim(settings.LOCK_DIR, worker, alone=connection.vendor == "sqlite")
        except AlreadyRunning as exc:
            raise CommandError(f"run_listeners is running already: {exc}. Stop it first.") from exc
        except BadWorkerName as exc:
            raise CommandError(str(exc)) from exc
        except OSError as exc:
            raise CommandError(f"LOCK_DIR={settings.LOCK_DIR} cannot be used: {exc}") from exc

    async def _run(self, worker: str, cautions: list[storage.Trouble]) -> None:
        clock = SystemClock()
        house = House(worker, clock)
        for caution in cautions:
            logger.warning("%s", caution)
        with stop_on_signal() as stop, display(worker, clock, self.stdout.write) as shown:
            self.stdout.write(f"listeners of {worker} are running; stop with Ctrl-C or SIGTERM")
            await house.run(stop, shown.show)
        self.stdout.write("listeners stopped")


def look_at_storage() -> list[storage.Trouble]:
    """Refuse a database that may forget what it committed; return what is only to be said."""
    found = storage.troubles()
    connection.close()  # the work is done in threads, on connections of their own
    if refusals := [str(trouble) for trouble in found if trouble.is_refusal]:
        raise CommandError(" ".join(refusals))
    return found


@contextmanager
def stop_on_signal() -> Iterator[asyncio.Event]:
    """Give an event that the first SIGTERM or SIGINT sets; a second one ends the process at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def ask() -> None:
        stop.set()
        release()

    def release() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, ask)
    try:
        yield stop
    finally:
        release()
