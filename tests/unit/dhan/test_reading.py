"""What the SDK calls "failure", told apart again."""

from __future__ import annotations

import json

import pytest

from marketdata.brokers.dhan.reading import translated
from marketdata.domain.errors import BadReply, BrokerError, BrokerRejected, BrokerUnavailable, LoginExpired


def trading(code: str, message: str = "no") -> bytes:
    return json.dumps({"errorType": "X", "errorCode": code, "errorMessage": message}).encode()


def data(code: str) -> bytes:
    return json.dumps({"data": {code: "no"}, "status": "failed"}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, trading("DH-901"), LoginExpired),
        (400, trading("DH-906", "Invalid Token"), LoginExpired),
        (401, data("807"), LoginExpired),
        (401, data("808"), LoginExpired),
        (401, data("809"), LoginExpired),
        (401, data("810"), LoginExpired),
        (400, data("800"), BrokerUnavailable),
        (400, data("805"), BrokerUnavailable),
        (429, data("806"), BrokerUnavailable),
        (403, data("806"), BrokerRejected),
        (400, data("804"), BrokerRejected),
        (400, data("814"), BrokerRejected),
        (403, trading("DH-902"), BrokerRejected),
        (400, trading("DH-903"), BrokerRejected),
        (429, trading("DH-904"), BrokerUnavailable),
        (400, trading("DH-905"), BrokerRejected),
        (400, trading("DH-906"), BrokerRejected),
        (400, trading("DH-907"), BrokerRejected),
        (400, trading("DH-908"), BrokerUnavailable),
        (400, trading("DH-909"), BrokerUnavailable),
        (400, trading("DH-910"), BrokerRejected),
        (403, trading("DH-911"), BrokerRejected),
        (500, trading("DH-905"), BrokerUnavailable),
        (500, b"<html>", BrokerUnavailable),
        (502, b"", BrokerUnavailable),
        (429, b"slow down", BrokerUnavailable),
        (200, b"<html>", BadReply),
        (200, b"", BadReply),
        (302, b"", BadReply),
        (404, b"{}", BadReply),
        (400, b'{"data": {}, "status": "failed"}', BadReply),
        (400, b"[1]", BadReply),
        (200, b"[" * 100_000, BadReply),
    ],
)
def test_an_answer_is_the_error_it_is(status: int, body: bytes, kind: type[BrokerError]) -> None:
    assert type(translated(status, body)) is kind
