"""Questions over connections that stay open: used again while they are of use, never after that."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from marketdata.asking import ReadSession
from marketdata.http_connections import KeptConnections
from tests.support.waiting import eventually

WITHIN_S = (5.0, 5.0)


class Host:
    """Answers every question on a connection; ``after`` is done with the connection when it has answered."""

    def __init__(self, body: bytes, head: str, after: Callable[[socket.socket], None]) -> None:
        self.ports: list[int] = []  # of whoever asked, question by question
        self.left = 0
        self._reply = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode()
            + body
        )
        self._after = after
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.root = f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, (_, port) = self.listening.accept()
                threading.Thread(target=self._answer, args=(connection, port), daemon=True).start()

    def _answer(self, connection: socket.socket, port: int) -> None:
        with connection, suppress(OSError):
            while connection.recv(65536):
                self.ports.append(port)
                connection.sendall(self._reply)
                self._after(connection)
        self.left += 1


@contextmanager
def hosting(
    body: bytes = b"yes", head: str = "", after: Callable[[socket.socket], None] = lambda _: None
) -> Iterator[Host]:
    host = Host(body, head, after)
    serving = threading.Thread(target=host.serve, daemon=True)
    serving.start()
    try:
        yield host
    finally:
        host.listening.shutdown(socket.SHUT_RDWR)
        host.listening.close()
        serving.join(5)


@pytest.fixture
def kept() -> Iterator[KeptConnections]:
    connections = KeptConnections(2)
    yield connections
    connections.close()


def asked(kept: KeptConnections, host: Host) -> bytes:
    return kept.get(host.root, "/", {}, WITHIN_S).body


def test_the_next_question_goes_over_the_same_connection(kept: KeptConnections) -> None:
    with hosting() as host:
        assert [asked(kept, host) for _ in range(3)] == [b"yes"] * 3
        assert len(set(host.ports)) == 1
        kept.close()
        eventually(lambda: host.left == 1)


@pytest.mark.parametrize(
    "late",
    [
        lambda one: one.shutdown(socket.SHUT_WR),
        lambda one: one.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
    ],
    ids=["shut", "said what nobody asked"],
)
def test_a_connection_on_which_something_came_meanwhile_is_left(
    kept: KeptConnections, late: Callable[[socket.socket], None]
) -> None:
    is_answered, is_done = threading.Event(), threading.Event()

    def then(connection: socket.socket) -> None:
        assert is_answered.wait(5)
        late(connection)
        is_done.set()

    with hosting(after=then) as host:
        assert asked(kept, host) == b"yes"
        is_answered.set()
        assert is_done.wait(5)
        assert asked(kept, host) == b"yes"
        assert len(set(host.ports)) == 2


def test_a_connection_that_is_to_be_closed_is_closed(kept: KeptConnections) -> None:
    with hosting(head="Connection: close\r\n") as host:
        assert [asked(kept, host) for _ in range(2)] == [b"yes"] * 2
        assert len(set(host.ports)) == 2
        eventually(lambda: host.left == 2)


def test_no_more_stay_open_than_were_allowed(kept: KeptConnections) -> None:
    together = threading.Barrier(3)
    with hosting(after=lambda _: None) as host:
        threads = [
            threading.Thread(target=lambda: (together.wait(5), asked(kept, host)), daemon=True)
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        kept.close()
        eventually(lambda: host.left == len(set(host.ports)))


def test_whoever_is_let_go_of_lets_go_of_the_host() -> None:
    with hosting() as host:
        asked(KeptConnections(1), host)
        eventually(lambda: host.left == 1)


def test_what_was_packed_is_unpacked() -> None:
    with hosting(gzip.compress(b"a book"), "Content-Encoding: gzip\r\n") as host, ReadSession(1) as session:
        reply = session.request("GET", f"{host.root}/orders", headers={}, timeout=WITHIN_S)
        assert reply.text == "a book"
