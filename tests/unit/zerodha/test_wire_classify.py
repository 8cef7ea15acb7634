"""What a reply to a write proves, and what it does not."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.brokers.zerodha.wire import classify, order_form
from marketdata.domain.orders import OrderRequest, Outcome, RejectClass, Side
from tests.support.refusals import DOUBTS

BY_TEXT = ("OrderException", "InputException", "MarginException", "HoldingException")


def error(kind: Any, message: Any = "no") -> bytes:
    return json.dumps({"status": "error", "message": message, "error_type": kind, "data": None}).encode()


def test_a_success_with_an_order_id_is_acked() -> None:
    result = classify(200, b'{"status": "success", "data": {"order_id": "151220000000000"}}')
    assert (result.outcome, result.order_id, result.reject_class) == (Outcome.ACKED, "151220000000000", None)


@pytest.mark.parametrize(
    ("status", "kind", "message", "reject_class"),
    [
        (403, "TokenException", "Incorrect `api_key` or `access_token`.", RejectClass.HUMAN),
        (403, "PermissionException", "IP not allowed", RejectClass.HUMAN),
        (403, "UserException", "account blocked", RejectClass.HUMAN),
        (400, "MarginException", "Insufficient funds", RejectClass.HUMAN),
        (400, "HoldingException", "authorise with TPIN", RejectClass.HUMAN),
        (
            400,
            "InputException",
            "Market orders without market protection are not allowed via API",
            RejectClass.FIX,
        ),
        (400, "InputException", "Price is not a multiple of the tick size", RejectClass.FIX),
        (400, "OrderException", "price is outside the circuit limit", RejectClass.FIX),
        (400, "InputException", "quantity is above the freeze quantity", RejectClass.FIX),
        (400, "OrderException", "trading in this instrument is halted", RejectClass.HUMAN),
        (400, "OrderException", "trading in this instrument is suspended", RejectClass.HUMAN),
        (400, "InputException", "too many requests, says a text that is not documented", RejectClass.HUMAN),
        (400, "MarginException", "margin against the tick size", RejectClass.HUMAN),
        (403, "TokenException", "Session expired, log in and try again", RejectClass.HUMAN),
        (400, "InputException", "words nobody has seen before", RejectClass.HUMAN),
        (429, "NetworkException", "Too many requests", RejectClass.WAIT),
        (429, "NetworkException", "Too many requests, try again", RejectClass.WAIT),
    ],
)
def test_a_definite_refusal_has_its_class(
    status: int, kind: str, message: str, reject_class: RejectClass
) -> None:
    result = classify(status, error(kind, message))
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
        (200, b'{"status": "success"}'),
        (200, b'{"status": "success", "data": {}}'),
        (200, b'{"status": "success", "data": {"order_id": ""}}'),
        (200, b'{"status": "success", "data": {"order_id": 5}}'),
        (200, b'{"status": "success", "data": ["5"]}'),
        (201, b'{"status": "success", "data": {"order_id": "5"}}'),
        (302, b""),
        (400, b"Bad Request"),
        (400, b'{"status": "error", "message": "no"}'),
        (400, b'{"status": "error", "error_type": "InputException"}'),
        (400, error("GeneralException")),
        (400, error(None)),
        (400, error("InputException", 5)),
        *((400, error(kind, text)) for kind in BY_TEXT for text in DOUBTS),
        (500, error("OrderException")),
        (500, error("GeneralException")),
        (502, b"<html>Bad Gateway</html>"),
        (503, error("NetworkException")),
        (504, error("InputException", "tick size")),
        (200, error("InputException", "tick size")),
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


def test_without_a_limit_it_is_a_protected_market_order() -> None:
    assert order_form(request()) == {
        "variety": "regular", "exchange": "NSE", "tradingsymbol": "M&M", "transaction_type": "SELL",
        "quantity": "5", "product": "CNC", "validity": "DAY", "tag": "TG1",
        "order_type": "MARKET", "market_protection": "-1",
    }  # fmt: skip


def test_with_a_limit_the_price_is_plain_digits() -> None:
    form = order_form(request(limit_price=Decimal("1E+2")))
    assert (form["order_type"], form["price"]) == ("LIMIT", "100")
    assert "market_protection" not in form


@pytest.mark.parametrize(
    "changes",
    [{"symbol": "INFY"}, {"symbol": ":INFY"}, {"symbol": "NSE:"}, {"quantity": 0}, {"quantity": -1}, {"tag": ""},
     {"tag": "a b"}, {"tag": "x" * 21}],
)  # fmt: skip
def test_a_request_kite_cannot_take_names_the_value(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(next(iter(changes.values()))))):
        order_form(request(**changes))
