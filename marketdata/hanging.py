"""Cutting database connections that give no answer: a server that is frozen keeps them open for ever."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)

LOOKS = 4
"""How often a guard looks within the time that it allows."""


class HangGuard:
    """Watches what one thread asks of a database, from a thread of its own.

    SQLite needs none: it waits for a lock no longer than it is told to.
    """

    def __init__(self, name: str, allowed_s: float) -> None:
        self._allowed_s = allowed_s
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._began = 0.0
        self._watched: BaseDatabaseWrapper | None = None
        threading.Thread(target=self._run, name=f"{name}-guard", daemon=True).start()

    @contextmanager
    def watching(self, database: BaseDatabaseWrapper) -> Iterator[None]:
        """Cut the connection, so that whoever waits for it gets an error, when the block takes too long."""
        with self._lock:
            self._began, self._watched = time.monotonic(), database
        try:
            yield
        finally:
            with self._lock:
                self._watched = None

    def close(self) -> None:
        """Watch no longer."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(self._allowed_s / LOOKS):
            with self._lock:
                if self._watched is not None and time.monotonic() - self._began >= self._allowed_s:
                    _cut(self._watched)
                    self._began = time.monotonic()


def _cut(database: BaseDatabaseWrapper) -> None:
    raw = database.connection
    if database.vendor != "postgresql" or raw is None or raw.closed:
        return
    logger.critical("the database does not answer: its connection is cut")
    with suppress(OSError), socket.socket(fileno=os.dup(raw.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
