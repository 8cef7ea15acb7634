"""A real HTTP server for what apprise posts: it keeps it, refuses it, or does not answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


class Sink:
    """What has been posted, oldest first, each as ``{"title", "message", "type", …}``."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.posts: list[dict[str, Any]] = []
        self.status = 200
        self.answers = threading.Event()
        self.answers.set()

    @property
    def url(self) -> str:
        """The target in ``ALERT_URLS``."""
        return f"json://127.0.0.1:{self.port}/hush-hush-token"

    @property
    def titles(self) -> list[str]:
        return [post["title"] for post in self.posts]

    def hang(self) -> None:
        """Take requests and answer none until ``answers`` is set."""
        self.answers.clear()


class _Handler(BaseHTTPRequestHandler):
    sink: ClassVar[Sink]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.sink.answers.wait(30)
        if self.sink.status == 200:
            self.sink.posts.append(json.loads(body))
        self.send_response(self.sink.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that gave up is no error here."""


@contextmanager
def sink() -> Iterator[Sink]:
    """Listen on a port of its own; gone afterwards."""

    class Handler(_Handler):
        """Each server's own."""

    server = _Server(("127.0.0.1", 0), Handler)
    Handler.sink = kept = Sink(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kept
    finally:
        kept.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()
