"""One order write over a raw socket: what is sent, how often, and what every ending means."""

from __future__ import annotations

import json
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from queue import Queue
from typing import Any, Protocol

import pytest

from marketdata import http_connections, single_shot
from marketdata.brokers.dhan.wire import DhanWire
from marketdata.brokers.zerodha.wire import KiteWire
from marketdata.domain.errors import BrokerRejected, BrokerUnavailable, UnknownInstrument
from marketdata.domain.orders import OrderRequest, Outcome, Side, WriteResult
from marketdata.ports import BrokerConfig, OrderWire
from marketdata.secret import Secret
from tests.support.answers import answers
from tests.support.certificates import self_signed
from tests.support.raw_server import sending, serving
from tests.support.stopwatch import within
from tests.support.waiting import eventually

SECRET = "Very-Secret-Token"
SELL = OrderRequest("TG1", "NSE:M&M", Side.SELL, 5, "CNC")
KITE_CONFIG = BrokerConfig(1, "zerodha", "AB1234", "key", Secret("secret"), Secret(SECRET))
DHAN_CONFIG = BrokerConfig(2, "dhan", "1000000009", "key", Secret("secret"), Secret(SECRET))


class Book:
    """Knows one contract."""

    asked = 0

    def token(self, symbol: str) -> str:
        self.asked += 1
        if symbol != SELL.symbol:
            raise UnknownInstrument(f"{symbol!r} is not in the instrument list")
        return "NSE_EQ:2031"

    def symbol(self, token: str) -> str | None:
        return SELL.symbol if token == "NSE_EQ:2031" else None

    def tick_size(self, symbol: str) -> Decimal | None:
        return Decimal("0.05") if symbol == SELL.symbol else None


def place(wire: OrderWire, not_after: float = math.inf) -> WriteResult:
    wire.prepare(SELL)
    return wire.send(not_after)


class Open(Protocol):
    def __call__(self, root: str, config: BrokerConfig | None = None) -> OrderWire: ...


def open_kite(root: str, config: BrokerConfig | None = None) -> OrderWire:
    return KiteWire.open(root, config or KITE_CONFIG)


def open_dhan(root: str, config: BrokerConfig | None = None) -> OrderWire:
    return DhanWire.open(f"{root}/v2", config or DHAN_CONFIG, Book())


@dataclass(frozen=True)
class Kind:
    """One broker's wire, and the answer that accepts an order."""

    open: Open
    config: BrokerConfig
    success: bytes


KINDS = {
    "zerodha": Kind(open_kite, KITE_CONFIG, b'{"status": "success", "data": {"order_id": "5"}}'),
    "dhan": Kind(open_dhan, DHAN_CONFIG, b'{"orderId": "5", "orderStatus": "TRANSIT"}'),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def ok(body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (size, body)


def test_kite_one_request_with_the_documented_head_and_form() -> None:
    with serving(sending(ok(KINDS["zerodha"].success))) as server:
        result = place(open_kite(server.root))
    assert (result.outcome, result.order_id) == (Outcome.ACKED, "5")
    (request,) = server.received
    head, _, form = request.decode().partition("\r\n\r\n")
    assert head.startswith("POST /orders/regular HTTP/1.1\r\n")
    for line in ("X-Kite-Version: 3", f"Authorization: token key:{SECRET}", f"Content-Length: {len(form)}"):
        assert line in head.split("\r\n")
    assert "tradingsymbol=M%26M&" in form
    assert "market_protection=-1" in form


def test_dhan_one_request_with_the_documented_head_and_body() -> None:
    with serving(sending(ok(KINDS["dhan"].success))) as server:
        result = place(open_dhan(server.root))
    assert (result.outcome, result.order_id) == (Outcome.ACKED, "5")
    (request,) = server.received
    head, _, body = request.decode().partition("\r\n\r\n")
    assert head.startswith("POST /v2/orders HTTP/1.1\r\n")
    for line in (f"access-token: {SECRET}", "client-id: 1000000009", "Content-Type: application/json"):
        assert line in head.split("\r\n")
    sent: dict[str, Any] = json.loads(body)
    assert (sent["correlationId"], sent["exchangeSegment"], sent["securityId"]) == ("TG1", "NSE_EQ", "2031")


def test_a_cancel_has_no_body(kind: Kind) -> None:
    with serving(sending(ok(kind.success))) as server:
        assert kind.open(server.root).cancel("15/1").outcome is Outcome.ACKED
    line = server.received[0].split(b"\r\n")[0].decode()
    assert line in ("DELETE /orders/regular/15%2F1 HTTP/1.1", "DELETE /v2/orders/15%2F1 HTTP/1.1")
    assert server.received[0].endswith(b"\r\n\r\n")


def test_kite_a_path_in_the_root_is_left_out_as_the_sdk_does() -> None:
    with serving(sending(ok(KINDS["zerodha"].success))) as server:
        place(open_kite(f"{server.root}/v3"))
    assert server.received[0].startswith(b"POST /orders/regular ")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        None,
        ok(b"<!>"),
        ok(b""),
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["nothing", "half a head", "half a body", "no json", "empty", "rubbish", "redirect", "503"],
)
def test_after_the_first_byte_everything_else_is_unknown_and_sent_once(
    kind: Kind, reply: bytes | None
) -> None:
    half = ok(kind.success, len(kind.success) + 1)
    with serving(sending(half if reply is None else reply)) as server:
        result = place(kind.open(server.root))
    assert result.outcome is Outcome.UNKNOWN
    assert SECRET not in result.message
    assert len(server.received) == 1


def test_a_reset_is_unknown(kind: Kind) -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    with serving(reset) as server:
        assert place(kind.open(server.root)).outcome is Outcome.UNKNOWN


def test_a_trickle_is_cut_off_in_time(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_shot, "READ_S", 0.4)

    def trickle(connection: socket.socket) -> None:
        try:
            for byte in ok(kind.success):
                connection.sendall(bytes([byte]))
                time.sleep(0.1)
        except OSError:
            return

    with serving(trickle) as server, within(2):
        result = place(kind.open(server.root))
    assert result.outcome is Outcome.UNKNOWN


def test_a_connection_carries_one_write(kind: Kind) -> None:
    with serving(sending(ok(kind.success))) as server:
        wire = kind.open(server.root)
        place(wire)
        for again in (lambda: wire.prepare(SELL), lambda: wire.send(math.inf), lambda: wire.cancel("5")):
            with pytest.raises(RuntimeError, match="open another"):
                again()
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("token", "request_"),
    [
        (SECRET, replace(SELL, quantity=0)),
        (SECRET, replace(SELL, symbol="M&M")),
        (SECRET, replace(SELL, tag="TG/1")),
        (f"{SECRET}\r\nX: y", SELL),
    ],
)
def test_what_cannot_be_sent_is_not_sent(kind: Kind, token: str, request_: OrderRequest) -> None:
    with serving(sending(b"")) as server:
        wire = kind.open(server.root, replace(kind.config, access_token=Secret(token)))
        with pytest.raises(BrokerRejected) as refused:
            wire.prepare(request_)
        wire.close()
        wire.close()
    assert SECRET not in str(refused.value)
    assert server.received in ([], [b""])


def test_a_connection_closed_before_the_request_sends_nothing(kind: Kind) -> None:
    with serving(sending(b"")) as server:
        wire = kind.open(server.root)
        wire.close()
        assert place(wire).outcome is Outcome.NOT_SENT
    assert server.received in ([], [b""])


@contextmanager
def accepted(
    wrap: Callable[[socket.socket], socket.socket] = lambda raw: raw,
) -> Iterator[tuple[str, Queue[socket.socket]]]:
    """Listen; give the address, and the other ends of the connections that were made."""
    ends: Queue[socket.socket] = Queue()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taking = threading.Thread(target=lambda: ends.put(wrap(listening.accept()[0])), daemon=True)
        taking.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", ends
        taking.join(5)


@pytest.mark.parametrize("end", ["closes", "speaks"])
def test_a_connection_that_waits_is_of_use_while_the_broker_keeps_it_and_says_nothing(end: str) -> None:
    with accepted() as (address, ends):
        shot = single_shot.SingleShot.open(f"http://{address}")
        with ends.get(timeout=5) as other:
            assert shot.is_open()
            assert shot.is_open()
            other.close() if end == "closes" else other.sendall(b"HTTP/1.1 408 Too late\r\n\r\n")
            eventually(lambda: not shot.is_open(), 5)
        shot.close()
        assert not shot.is_open()


def test_what_tls_says_by_itself_closes_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, file = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=str(file))
    monkeypatch.setattr(http_connections, "tls_context", lambda: trusting)
    with accepted(lambda raw: server.wrap_socket(raw, server_side=True)) as (address, ends):
        shot = single_shot.SingleShot.open(f"https://{address}")
        with ends.get(timeout=5) as other:  # its tickets are on their way: nobody has read them
            assert isinstance(other, ssl.SSLSocket)
            assert other.version() == "TLSv1.3"
            assert shot.is_open()
            other.close()
            eventually(lambda: not shot.is_open(), 5)
        shot.close()


def test_after_its_deadline_nothing_leaves(kind: Kind) -> None:
    with serving(sending(ok(kind.success))) as server:
        result = place(kind.open(server.root), not_after=time.monotonic() - 0.1)
    assert result.outcome is Outcome.NOT_SENT
    assert "held up" in result.message
    assert server.received in ([], [b""])


def test_all_look_ups_come_before_the_order_leaves() -> None:
    book = Book()
    with serving(sending(ok(KINDS["dhan"].success))) as server:
        wire = DhanWire.open(f"{server.root}/v2", DHAN_CONFIG, book)
        wire.prepare(SELL)
        assert book.asked == 1
        assert wire.send(math.inf).outcome is Outcome.ACKED
    assert book.asked == 1


def test_a_list_that_cannot_be_read_sends_nothing() -> None:
    class Broken(Book):
        def token(self, symbol: str) -> str:
            raise OSError("disk I/O error")

    with serving(sending(b"")) as server:
        wire = DhanWire.open(f"{server.root}/v2", DHAN_CONFIG, Broken())
        with pytest.raises(BrokerUnavailable, match=r"NSE:M&M could not be looked up: disk"):
            wire.prepare(SELL)
        wire.close()
    assert server.received in ([], [b""])


def test_nobody_listening_is_unavailable(kind: Kind) -> None:
    with serving(sending(b"")) as server:
        root = server.root
    with pytest.raises(BrokerUnavailable, match="was not reached: Connection refused"):
        kind.open(root)


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
        with within(2), pytest.raises(BrokerUnavailable):
            open_kite(f"http://127.0.0.1:{port}")
    finally:
        for each in (*fillers, full):
            each.close()


@pytest.mark.parametrize("broker", KINDS)
def test_every_known_answer_proves_what_it_should(broker: str) -> None:
    known = answers(broker)
    assert len(known) >= 50
    for answer in known:
        head = b"HTTP/1.1 %d Any\r\nContent-Length: %d\r\n\r\n" % (answer.status, len(answer.body))
        with serving(sending(head + answer.body)) as server:
            result = place(KINDS[broker].open(server.root))
        assert answer.is_what(result), (answer, result)
        assert len(server.received) == 1
