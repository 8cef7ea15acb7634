"""Reads over a raw socket: whatever comes back, one of our errors, asked once, credentials nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from marketdata.brokers.dhan.orders import DhanGateway
from marketdata.brokers.zerodha.orders import KiteGateway
from marketdata.domain.errors import BadReply, BrokerError, BrokerUnavailable
from marketdata.ports import BrokerConfig, OrderGateway
from marketdata.secret import Secret
from tests.support.raw_server import sending, serving

SECRET = "Very-Secret-Token"


class NoBook:
    """Knows no contract."""

    def token(self, symbol: str) -> str:
        raise LookupError(symbol)

    def symbol(self, token: str) -> str | None:
        return None

    def tokens_of(self, symbols: Collection[str]) -> Mapping[str, str]:
        return {}

    def symbols_of(self, tokens: Collection[str]) -> Mapping[str, str]:
        return {}

    def tick_size(self, symbol: str) -> Decimal | None:
        return None


def kite(root: str) -> OrderGateway:
    return KiteGateway(BrokerConfig(1, "zerodha", "AB1234", "key", Secret(), Secret(SECRET)), root)


def dhan(root: str) -> OrderGateway:
    config = BrokerConfig(2, "dhan", "1000000009", "key", Secret(), Secret(SECRET))
    return DhanGateway(config, f"{root}/v2", NoBook())


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
        assert [request.split()[1] for request in server.received] == [b"/v2/positions", b"/v2/holdings"]
