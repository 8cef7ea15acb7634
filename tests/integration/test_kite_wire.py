"""One order write over a raw socket: what is sent, how often, and what every ending means."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from marketdata import single_shot
from marketdata.brokers.zerodha.wire import KiteWire
from marketdata.domain.errors import BrokerUnavailable
from marketdata.domain.orders import OrderRequest, Outcome, Side
from marketdata.ports import BrokerConfig
from marketdata.secret import Secret

CONFIG = BrokerConfig(1, "zerodha", "AB1234", "key", Secret("secret"), Secret("Very-Secret-Token"))
SELL = OrderRequest("TG1", "NSE:M&M", Side.SELL, 5, "CNC")
ACK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
BODY = b'{"status": "success", "data": {"order_id": "5"}}'
Answer = Callable[[socket.socket], None]


class Server:
    """Keeps what it receives; answers as told, once per connection."""

    def __init__(self, answer: Answer) -> None:
        self.received: list[bytes] = []
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.root = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                self.received.append(_request(connection))
                if self.received[-1]:
                    self._answer(connection)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)


def _request(connection: socket.socket) -> bytes:
    data = b""
    while True:
        head, separator, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        if separator and len(body) >= int(length[1] if length else 0):
            return data
        more = connection.recv(65536)
        if not more:
            return data
        data += more


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    server = Server(answer)
    try:
        yield server
    finally:
        server.close()


def sending(data: bytes) -> Answer:
    return lambda connection: connection.sendall(data)


def test_one_request_with_the_documented_head_and_form() -> None:
    with serving(sending(ACK % (len(BODY), BODY))) as server:
        result = KiteWire.open(server.root, CONFIG).place(SELL)
    assert (result.outcome, result.order_id) == (Outcome.ACKED, "5")
    (request,) = server.received
    head, _, form = request.decode().partition("\r\n\r\n")
    assert head.startswith("POST /orders/regular HTTP/1.1\r\n")
    for line in (
        "X-Kite-Version: 3",
        "Authorization: token key:Very-Secret-Token",
        f"Content-Length: {len(form)}",
    ):
        assert line in head.split("\r\n")
    assert "tradingsymbol=M%26M&" in form
    assert "market_protection=-1" in form


def test_a_cancel_has_no_body() -> None:
    with serving(sending(ACK % (len(BODY), BODY))) as server:
        assert KiteWire.open(server.root, CONFIG).cancel("15/1").outcome is Outcome.ACKED
    assert server.received[0].startswith(b"DELETE /orders/regular/15%2F1 HTTP/1.1\r\n")
    assert server.received[0].endswith(b"\r\n\r\n")


def test_a_path_in_the_root_is_left_out_as_the_sdk_does() -> None:
    with serving(sending(ACK % (len(BODY), BODY))) as server:
        KiteWire.open(f"{server.root}/v3", CONFIG).place(SELL)
    assert server.received[0].startswith(b"POST /orders/regular ")


@pytest.mark.parametrize(
    "answer",
    [
        sending(b""),
        sending(b"HTTP/1.1 200 OK\r\n"),
        sending(ACK % (len(BODY) + 1, BODY)),
        sending(ACK % (3, b"<>!")),
        sending(b"rubbish\r\n\r\n"),
        sending(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"),
        sending(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["nothing", "half a head", "half a body", "no json", "rubbish", "redirect", "503"],
)
def test_after_the_first_byte_everything_else_is_unknown_and_sent_once(answer: Answer) -> None:
    with serving(answer) as server:
        result = KiteWire.open(server.root, CONFIG).place(SELL)
    assert result.outcome is Outcome.UNKNOWN
    assert "Very-Secret-Token" not in result.message
    assert len(server.received) == 1


def test_a_reset_is_unknown() -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    with serving(reset) as server:
        assert KiteWire.open(server.root, CONFIG).place(SELL).outcome is Outcome.UNKNOWN


def test_a_trickle_is_cut_off_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_shot, "READ_S", 0.4)

    def trickle(connection: socket.socket) -> None:
        try:
            for byte in ACK % (len(BODY), BODY):
                connection.sendall(bytes([byte]))
                time.sleep(0.1)
        except OSError:
            return

    with serving(trickle) as server:
        began = time.monotonic()
        result = KiteWire.open(server.root, CONFIG).place(SELL)
        assert time.monotonic() - began < 2
    assert result.outcome is Outcome.UNKNOWN


def test_a_connection_carries_one_write() -> None:
    with serving(sending(ACK % (len(BODY), BODY))) as server:
        wire = KiteWire.open(server.root, CONFIG)
        wire.place(SELL)
        with pytest.raises(RuntimeError, match="open another"):
            wire.place(SELL)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("config", "request_"),
    [
        (CONFIG, replace(SELL, quantity=0)),
        (CONFIG, replace(SELL, symbol="M&M")),
        (replace(CONFIG, access_token=Secret("Very-Secret-Token\r\nX: y")), SELL),
    ],
)
def test_what_cannot_be_sent_is_not_sent(config: BrokerConfig, request_: OrderRequest) -> None:
    with serving(sending(b"")) as server:
        wire = KiteWire.open(server.root, config)
        result = wire.place(request_)
        wire.close()
        wire.close()
    assert result.outcome is Outcome.NOT_SENT
    assert "Very-Secret-Token" not in result.message
    assert server.received in ([], [b""])


def test_a_connection_closed_before_the_request_sends_nothing() -> None:
    with serving(sending(b"")) as server:
        wire = KiteWire.open(server.root, CONFIG)
        wire.close()
        assert wire.place(SELL).outcome is Outcome.NOT_SENT
    assert server.received in ([], [b""])


def test_nobody_listening_is_unavailable() -> None:
    with serving(sending(b"")) as server:
        root = server.root
    with pytest.raises(BrokerUnavailable, match="was not reached: Connection refused"):
        KiteWire.open(root, CONFIG)


def test_no_answer_to_the_connect_is_unavailable_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_shot, "CONNECT_S", 0.3)
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = full.getsockname()[1]
    fillers = []
    for _ in range(4):  # nobody accepts: soon the kernel answers no more
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    try:
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            KiteWire.open(f"http://127.0.0.1:{port}", CONFIG)
        assert time.monotonic() - began < 2
    finally:
        for each in (*fillers, full):
            each.close()
