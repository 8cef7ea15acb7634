"""What a reply to a write proves, and what it does not."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.brokers.dhan.wire import classify, order_body
from marketdata.domain.orders import OrderRequest, Outcome, RejectClass, Side
from tests.support.refusals import DOUBTS

REST = Path(__file__).parents[2] / "data" / "dhan" / "rest"
HUMAN, FIX, WAIT = RejectClass.HUMAN, RejectClass.FIX, RejectClass.WAIT


def error(code: Any, message: Any = "no", kind: Any = "Order_Error") -> bytes:
    return json.dumps({"errorType": kind, "errorCode": code, "errorMessage": message}).encode()


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("word", ["TRANSIT", "PENDING", "REJECTED", "CANCELLED", "something new"])
def test_a_success_with_an_order_id_is_acked(status: int, word: str) -> None:
    result = classify(status, json.dumps({"orderId": "112111182198", "orderStatus": word}).encode())
    assert (result.outcome, result.order_id, result.reject_class) == (Outcome.ACKED, "112111182198", None)


def test_the_recorded_success_and_the_documented_error() -> None:
    success = json.loads((REST / "place_order.json").read_text())["data"]
    assert classify(200, json.dumps(success).encode()).outcome is Outcome.ACKED
    refused = classify(400, (REST / "error.json").read_bytes())
    assert (refused.outcome, refused.reject_class) == (Outcome.REJECTED, HUMAN)


@pytest.mark.parametrize(
    ("status", "code", "message", "reject_class"),
    [
        (401, "DH-901", "Client ID or user generated access token is invalid or expired.", HUMAN),
        (
            403,
            "DH-902",
            "User has not subscribed to Data APIs or does not have access to Trading APIs.",
            HUMAN,
        ),
        (400, "DH-903", "Errors related to User's Account.", HUMAN),
        (429, "DH-904", "Too many requests on server from single user breaching rate limits.", WAIT),
        (400, "DH-904", "Rate limit.", WAIT),
        (400, "DH-905", "Missing required fields, bad values for parameters etc.", HUMAN),
        (400, "DH-905", "Invalid IP", HUMAN),
        (400, "DH-905", "Price is not a multiple of tick size", FIX),
        (400, "DH-905", "Quantity is not a multiple of lot size", FIX),
        (400, "DH-906", "Invalid Token", HUMAN),
        (400, "DH-906", "Incorrect request for order and cannot be processed.", HUMAN),
        (400, "DH-906", "Trigger Price should be greater than Price", HUMAN),
        (400, "DH-906", "Insufficient funds", HUMAN),
        (400, "DH-906", "RMS: authorise with TPIN", HUMAN),
        (400, "DH-906", "Price is outside the circuit limit", FIX),
        (400, "DH-906", "Price not within the day's price band", FIX),
        (400, "DH-906", "Quantity is above the freeze quantity", FIX),
        (400, "DH-906", "Order price is outside the execution range", FIX),
        (400, "DH-904", "Too many requests, try again", WAIT),
        (400, "DH-906", "Trading in this instrument is halted", HUMAN),
        (400, "DH-906", "Trading in this instrument is suspended", HUMAN),
        (400, "DH-905", "Rate limit, says a text that is not documented", HUMAN),
        (401, "DH-901", "Token expired, log in and try again", HUMAN),
        (403, "DH-911", "Invalid IP", HUMAN),
    ],
)
def test_a_definite_refusal_has_its_class(
    status: int, code: str, message: str, reject_class: RejectClass
) -> None:
    result = classify(status, error(code, message))
    assert (result.outcome, result.reject_class) == (Outcome.REJECTED, reject_class)
    assert message in result.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>OK</html>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"[" * 100_000),
        (200, b"{}"),
        (200, b'{"orderId": "5"}'),
        (200, b'{"orderStatus": "TRANSIT"}'),
        (200, b'{"orderId": "", "orderStatus": "TRANSIT"}'),
        (200, b'{"orderId": 5, "orderStatus": "TRANSIT"}'),
        (200, b'{"status": "success", "data": {"orderId": "5", "orderStatus": "TRANSIT"}}'),
        (201, b'{"orderId": "5", "orderStatus": "TRANSIT"}'),
        (302, b""),
        (400, b"Bad Request"),
        (400, b'{"errorCode": "DH-906", "errorMessage": "no"}'),
        (400, b'{"errorType": "Order_Error", "errorMessage": "no"}'),
        (400, b'{"status": "failed", "data": {"808": "Authentication Failed"}}'),
        (400, b'{"error_code": "DH-906", "error_type": "Order_Error", "error_message": "no"}'),
        (400, error("DH-907")),
        (400, error("DH-908")),
        (400, error("DH-909")),
        (400, error("DH-910")),
        (400, error("DH-1111")),
        (400, error("RS-9005", "Transactions Fails.")),
        (400, error(None)),
        (400, error("DH-906", None)),
        (429, b"slow down"),
        *((400, error(code, text)) for code in ("DH-905", "DH-906") for text in DOUBTS),
        (500, error("DH-906", "Insufficient funds")),
        (500, error("DH-908")),
        (502, b"<html>Bad Gateway</html>"),
        (503, error("DH-909")),
        (504, error("DH-905", "tick size")),
        (200, error("DH-905", "tick size")),
        (200, b'{"orderId": "5", "orderStatus": "TRANSIT", "errorCode": "DH-906"}'),
    ],
)
def test_everything_else_is_unknown(status: int, body: bytes) -> None:
    assert classify(status, body).outcome is Outcome.UNKNOWN


@given(st.integers(100, 599), st.binary(max_size=60))
def test_no_bytes_prove_anything_by_accident(status: int, body: bytes) -> None:
    assert classify(status, body).outcome is Outcome.UNKNOWN


def request(**changes: Any) -> OrderRequest:
    values = {"tag": "TG1", "symbol": "NSE:M&M", "side": Side.SELL, "quantity": 5, "product": "CNC"}
    return OrderRequest(**{**values, **changes})


def body(contract: str = "NSE_EQ:2031", **changes: Any) -> dict[str, Any]:
    return order_body(request(**changes), contract, "1000000009")


def test_without_a_limit_it_is_a_market_order() -> None:
    assert body() == {
        "dhanClientId": "1000000009", "correlationId": "TG1", "transactionType": "SELL",
        "exchangeSegment": "NSE_EQ", "productType": "CNC", "orderType": "MARKET", "validity": "DAY",
        "securityId": "2031", "quantity": 5, "disclosedQuantity": 0, "price": 0.0, "triggerPrice": 0.0,
        "afterMarketOrder": False,
    }  # fmt: skip


@given(st.integers(1, 10**9), st.sampled_from(["0.05", "0.01", "0.0025", "1"]))
def test_a_limit_leaves_with_every_digit(ticks: int, tick: str) -> None:
    price = ticks * Decimal(tick)
    sent = json.dumps(body(limit_price=price))
    assert '"orderType": "LIMIT"' in sent
    assert json.loads(sent, parse_float=Decimal)["price"] == price


@pytest.mark.parametrize(
    ("ours", "theirs"), [("MIS", "INTRADAY"), ("CNC", "CNC"), ("NRML", "MARGIN"), ("MTF", "MTF")]
)
def test_products_have_dhans_words(ours: str, theirs: str) -> None:
    assert body(product=ours)["productType"] == theirs


def test_a_tag_may_be_as_long_and_varied_as_dhan_takes() -> None:
    tag = "TG 1-a_b" + "x" * 22
    assert body(tag=tag)["correlationId"] == tag


@pytest.mark.parametrize(
    "changes",
    [{"contract": "2885"}, {"contract": "NSE_EQ:"}, {"contract": "NSE_XX:5"}, {"contract": "NSE_EQ:5x"}, {"quantity": 0},
     {"quantity": -1}, {"tag": ""}, {"tag": "a.b"}, {"tag": "x" * 31}, {"tag": "é"}, {"product": "BO"}],
)  # fmt: skip
def test_a_request_dhan_cannot_take_names_the_value(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(next(iter(changes.values()))))):
        body(**changes)


def test_an_index_cannot_be_traded() -> None:
    with pytest.raises(ValueError, match="is an index"):
        body(contract="IDX_I:13")
