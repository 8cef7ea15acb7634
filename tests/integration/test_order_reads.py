"""Reads over a raw socket: whatever comes back, one of our errors, asked once, credentials nowhere else."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from marketdata.brokers.dhan.orders import DhanGateway
from marketdata.brokers.zerodha.orders import KiteGateway
from marketdata.domain.errors import BadReply, BrokerError, BrokerUnavailable
from marketdata.domain.orders import PositionSnapshot
from marketdata.ports import BrokerConfig, OrderGateway
from marketdata.secret import Secret
from tests.fakes.contracts import ListedContracts
from tests.support.certificates import self_signed
from tests.support.raw_server import sending, serving

Portfolio = set[PositionSnapshot]
SECRET = "Very-Secret-Token"
LISTED = ListedContracts({"NSE:INFY": "NSE_EQ:1594", "BSE:INFY": "BSE_EQ:500209"})


def kite(root: str) -> OrderGateway:
    return KiteGateway(BrokerConfig(1, "zerodha", "AB1234", "key", Secret(), Secret(SECRET)), root, LISTED)


def dhan(root: str) -> OrderGateway:
    config = BrokerConfig(2, "dhan", "1000000009", "key", Secret(), Secret(SECRET))
    return DhanGateway(config, f"{root}/v2", LISTED)


@pytest.fixture(params=[kite, dhan])
def gateway_to(request: pytest.FixtureRequest) -> Callable[[str], OrderGateway]:
    make: Callable[[str], OrderGateway] = request.param
    return make


def reply(status: str, body: bytes, kind: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}Connection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", BrokerUnavailable),
        (b"rubbish\r\n\r\n", BrokerUnavailable),
        (reply("200 OK", b""), BadReply),
        (reply("200 OK", b"<html>", "text/html"), BadReply),
        (reply("200 OK", b"5"), BadReply),
        (reply("200 OK", b'{"status": "success"}'), BadReply),
        (reply("302 Found", b"", more="Location: /elsewhere\r\n"), BrokerError),
        (reply("503 Busy", b"<html>", "text/html"), BrokerError),
    ],
    ids=["nothing", "rubbish", "empty", "html", "a number", "no orders in it", "redirect", "503"],
)
@pytest.mark.parametrize("what", ["orders", "positions", "account_id"])
def test_what_is_no_answer_is_an_error_and_asked_once(
    gateway_to: Callable[[str], OrderGateway],
    answer: bytes,
    kind: type[BrokerError],
    what: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(sending(answer)) as server:
        with pytest.raises(kind) as caught:
            getattr(gateway_to(server.root), what)()
        asked = [request.split()[1] for request in server.received if request]
    assert asked
    assert len(asked) == len(set(asked)), "nothing is asked twice"
    assert SECRET not in str(caught.value) + repr(caught.value) + caplog.text


def test_nothing_of_the_environment_reaches_a_read(
    gateway_to: Callable[[str], OrderGateway], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(sending(reply("503 Busy", b""))) as server, pytest.raises(BrokerError):
        gateway_to(server.root).orders()
    assert SECRET.encode() in server.received[0]


def test_an_account_without_shares_at_dhan_holds_nothing() -> None:
    empty = b'{"errorType": "HOLDING_ERROR", "errorCode": "DH-1111", "errorMessage": "No holdings available"}'

    def answer(path: bytes) -> bytes:
        return reply("500 Oops", empty) if b"/holdings" in path else reply("200 OK", b"[]")

    with serving(lambda connection: connection.sendall(answer(server.received[-1]))) as server:
        assert dhan(server.root).positions() == []
        assert sorted(request.split()[1] for request in server.received) == [
            b"/v2/holdings",
            b"/v2/positions",
        ]


def test_an_impostor_is_not_told_the_token(gateway_to: Callable[[str], OrderGateway], tmp_path: Path) -> None:
    tls, _ = self_signed(tmp_path)  # nobody vouches for it
    with socket.create_server(("127.0.0.1", 0)) as listening:
        heard: list[bytes] = []

        def listen() -> None:
            raw, _ = listening.accept()
            with suppress(OSError), tls.wrap_socket(raw, server_side=True) as connection:
                heard.append(connection.recv(65536))

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        with pytest.raises(BrokerUnavailable, match="did not answer: SSLError"):
            gateway_to(f"https://127.0.0.1:{listening.getsockname()[1]}").orders()
        listener.join(5)
    assert heard in ([], [b""])


def portfolio(gateway_to: Callable[[str], OrderGateway], positions: bytes, holdings: bytes) -> Portfolio:
    """Return what a gateway makes of a broker's two answers."""

    def answer(path: bytes) -> bytes:
        return reply("200 OK", holdings if b"/holdings" in path else positions)

    with serving(lambda connection: connection.sendall(answer(server.received[-1]))) as server:
        return set(gateway_to(server.root).positions())


KITE_POSITION = b'{"tradingsymbol": "%s", "exchange": "%s", "product": "MIS", "quantity": 100}'
KITE_HOLDING = b'{"tradingsymbol": "%s", "exchange": "%s", "isin": "I", "quantity": 100, "t1_quantity": 0, "used_quantity": 0}'
DHAN_POSITION = b'{"securityId": "%s", "exchangeSegment": "%s", "productType": "INTRADAY", "netQty": 100}'
DHAN_HOLDING = (
    b'{"securityId": "%s", "exchange": "%s", "totalQty": 100, "collateralQty": 0, "availableQty": 100}'
)
NAMELESS_SHARES = PositionSnapshot("", "CNC", 100, from_holdings=True)
IN_DEMAT = {PositionSnapshot(f"{name}:INFY", "CNC", 100, from_holdings=True) for name in ("NSE", "BSE")}


def of_kite(positions: bytes, holdings: bytes) -> Portfolio:
    net = b'{"status": "success", "data": {"net": [%s]}}' % positions
    return portfolio(kite, net, b'{"status": "success", "data": [%s]}' % holdings)


def of_dhan(positions: bytes, holdings: bytes) -> Portfolio:
    return portfolio(dhan, b"[%s]" % positions, b"[%s]" % holdings)


@pytest.mark.parametrize("exchange", [b"NSE", b"BSE"])
def test_shares_at_zerodha_can_be_sold_on_both_exchanges(exchange: bytes) -> None:
    assert of_kite(b"", KITE_HOLDING % (b"INFY", exchange)) == IN_DEMAT


@pytest.mark.parametrize("row", [(b"1594", b"ALL"), (b"1594", b"NSE"), (b"500209", b"BSE")])
def test_shares_at_dhan_can_be_sold_on_both_exchanges(row: tuple[bytes, bytes]) -> None:
    assert of_dhan(b"", DHAN_HOLDING % row) == IN_DEMAT


@pytest.mark.parametrize("row", [(b"RENAMED", b"NSE"), (b"INFY", b"NEW")])
def test_what_zerodha_shows_and_our_list_does_not_have_is_still_held(row: tuple[bytes, bytes]) -> None:
    assert of_kite(KITE_POSITION % row, b"") == {PositionSnapshot("", "MIS", 100)}
    assert of_kite(b"", KITE_HOLDING % (b"RENAMED", b"NSE")) == {NAMELESS_SHARES}


@pytest.mark.parametrize("row", [(b"999", b"NSE_EQ"), (b"1594", b"NEW_SEGMENT")])
def test_what_dhan_shows_and_our_list_does_not_have_is_still_held(row: tuple[bytes, bytes]) -> None:
    assert of_dhan(DHAN_POSITION % row, b"") == {PositionSnapshot("", "MIS", 100)}
    assert of_dhan(b"", DHAN_HOLDING % (b"999", b"ALL")) == {NAMELESS_SHARES}
    assert of_dhan(b"", DHAN_HOLDING % (b"1594", b"NEW")) == {NAMELESS_SHARES}
