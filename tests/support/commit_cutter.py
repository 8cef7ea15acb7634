"""A way to PostgreSQL that loses commits, or only the answers to them."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"


class CommitCutter:
    """Passes connections on to a server on loopback, and cuts some of them at their commit.

    Half of those it cuts never reach the server; the other half are committed, unheard of.

    Args:
        server_port: Where the server is.
        share: How many of the commits are cut, 0 to 1; may be changed at any time.
        rng: Chooses them.

    """

    def __init__(self, server_port: int, share: float, rng: random.Random) -> None:
        self.share = share
        self.lost = 0  # commits that never arrived
        self.unheard = 0  # commits whose answer was lost
        self._rng = rng
        self._server = ("127.0.0.1", server_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in (self._listener, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._open += [client, server]
                unheard = threading.Event()
                threading.Thread(target=self._ask, args=(client, server, unheard), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server, unheard), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, unheard: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if COMMIT in data and self._rng.random() < self.share:
                    if self._rng.random() < 0.5:
                        self.lost += 1
                        break
                    self.unheard += 1
                    unheard.set()
                server.sendall(data)
        _end(client, server)

    def _answer(self, client: socket.socket, server: socket.socket, unheard: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if unheard.is_set():
                    break
                client.sendall(data)
        _end(client, server)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def commit_cutter(server_port: int, share: float, rng: random.Random) -> Iterator[CommitCutter]:
    """Run one for as long as the block lasts."""
    cutter = CommitCutter(server_port, share, rng)
    try:
        yield cutter
    finally:
        cutter.close()
