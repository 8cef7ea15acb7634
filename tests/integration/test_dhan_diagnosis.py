"""Why a feed ended before it began: what each answer of the profile means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from marketdata.brokers.dhan.diagnosis import diagnose
from marketdata.domain.errors import BrokerUnavailable, LoginExpired, TryLater
from marketdata.ports import BrokerConfig
from marketdata.secret import Secret
from tests.support.raw_server import sending, serving

TOKEN = "Very-Secret-Token"
CONFIG = BrokerConfig(7, "dhan", "1000000001", "", access_token=Secret(TOKEN))
DROPPED = BrokerUnavailable("connection lost")
PROFILE = {"dhanClientId": "1000000001", "tokenValidity": "30/03/2027 15:37", "dataPlan": "Active"}
DEAD = {"errorType": "Invalid_Authentication", "errorCode": "DH-901", "errorMessage": "expired"}
DEAD_DATA = {"data": {"807": "Access token is expired"}, "status": "failed"}


def diagnosed(status: str, body: Any) -> Exception:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    with serving(sending(head.encode() + data)) as server:
        error = diagnose(CONFIG, f"{server.root}/v2", DROPPED)
        assert b"GET /v2/profile " in server.received[0]
    assert TOKEN not in str(error)
    return error


def test_a_living_token_leaves_the_trouble_what_it_is() -> None:
    assert diagnosed("200 OK", PROFILE) is DROPPED


@pytest.mark.parametrize(
    ("status", "body"),
    [("401 Unauthorized", DEAD), ("400 Bad Request", DEAD_DATA), ("401 Unauthorized", DEAD_DATA)],
)
def test_a_dead_one_needs_a_person(status: str, body: Any) -> None:
    error = diagnosed(status, body)
    assert isinstance(error, LoginExpired)
    assert "log in again" in str(error)


def test_one_of_somebody_else_needs_a_person() -> None:
    error = diagnosed("200 OK", {**PROFILE, "dhanClientId": "1000000002"})
    assert isinstance(error, LoginExpired)
    assert "belongs to client 1000000002" in str(error)


def test_without_a_data_plan_there_is_no_hurry() -> None:
    error = diagnosed("200 OK", {**PROFILE, "dataPlan": "Expired"})
    assert isinstance(error, TryLater)
    assert "connection lost" in str(error)
    assert "plan" in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("502 Bad Gateway", b"<html>"), ("200 OK", b"<html>"), ("200 OK", {}), ("200 OK", []),
        ("429 Too Many Requests", {}), ("302 Found", {}), ("200 OK", b""),
    ],
)  # fmt: skip
def test_an_answer_that_says_nothing_changes_nothing(status: str, body: Any) -> None:
    assert diagnosed(status, body) is DROPPED


def test_no_answer_changes_nothing() -> None:
    with serving(sending(b"")) as server:
        assert diagnose(CONFIG, server.root, DROPPED) is DROPPED
    assert diagnose(CONFIG, server.root, DROPPED) is DROPPED
