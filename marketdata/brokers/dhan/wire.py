"""One order write to Dhan, on a connection of its own.

A market order becomes a limit order at a protected price at Dhan and may rest. A stop-loss
market order is not held there at all, and never sent.
Source: DhanHQ v2 documentation, "Orders" and "Annexure".
"""

from __future__ import annotations

import http
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from marketdata.brokers.dhan.book import PRODUCTS
from marketdata.brokers.dhan.refusals import REFUSALS
from marketdata.brokers.dhan.segments import INDICES, split_token
from marketdata.domain.errors import BrokerRejected, BrokerUnavailable, UnknownInstrument
from marketdata.domain.orders import OrderRequest, Outcome, RejectReason, WriteResult
from marketdata.doubts import leaves_doubt
from marketdata.ports import BrokerConfig, Tokens
from marketdata.single_shot import SingleShot, Write, rejected, unknown

_SUCCESS = (http.HTTPStatus.OK, http.HTTPStatus.ACCEPTED)
# Documented as refused before an order exists, whatever the text says.
_AT_THE_DOOR = {
    "DH-901": RejectReason.LOGIN,
    "DH-902": RejectReason.OTHER,  # no access to the trading API
    "DH-903": RejectReason.OTHER,  # the account
    "DH-911": RejectReason.IP,
}
_RATE_LIMIT = "DH-904"
_TODAY = re.compile(r"\b(?:day|daily|today)\b", re.IGNORECASE)
_BY_TEXT = frozenset({"DH-905", "DH-906"})  # input, order


class DhanWire:
    """An open connection for exactly one write."""

    def __init__(self, shot: SingleShot, path: str, config: BrokerConfig, tokens: Tokens) -> None:
        self._shot = shot
        self._path = path
        self._config = config
        self._tokens = tokens

    @classmethod
    def open(cls, root: str, config: BrokerConfig, tokens: Tokens) -> DhanWire:
        """Connect and send nothing. Raises ``BrokerUnavailable``."""
        return cls(SingleShot.open(root), urlsplit(root).path, config, tokens)

    def is_open(self) -> bool:
        """Tell whether the broker has kept the connection open, as far as is known here."""
        return self._shot.is_open()

    def prepare(self, request: OrderRequest) -> None:
        """Look up the contract and encode one order.

        Raises:
            BrokerRejected: Dhan could not take it.
            BrokerUnavailable: The instrument list could not be read.

        """
        try:
            body = order_body(request, self._tokens.token(request.symbol), self._config.client_id)
        except (ValueError, UnknownInstrument) as exc:
            raise BrokerRejected(str(exc)) from exc
        except Exception as exc:  # whatever it was, the database among it
            raise BrokerUnavailable(f"{request.symbol} could not be looked up: {exc}") from exc
        self._shot.prepare(self._write("POST", "/orders", json.dumps(body).encode()))

    def send(self, not_after: float) -> WriteResult:
        """Send the order, unless ``not_after`` (monotonic seconds) is past."""
        return self._shot.send(classify, not_after)

    def cancel(self, order_id: str) -> WriteResult:
        """Ask for one order to be cancelled. Raises ``BrokerRejected`` before anything is sent."""
        self._shot.prepare(self._write("DELETE", f"/orders/{quote(order_id, safe='')}", b""))
        return self._shot.send(classify)

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self._shot.close()

    def _write(self, method: str, path: str, body: bytes) -> Write:
        headers = {
            "Accept": "application/json",
            "access-token": self._config.access_token.reveal(),
            "client-id": self._config.client_id,
        }
        if body:
            headers["Content-Type"] = "application/json"
        return Write(method, self._path + path, headers, body)


def order_body(request: OrderRequest, token: str, client_id: str) -> dict[str, Any]:
    """Return the fields of a day order.

    Raises:
        ValueError: Dhan could not take this request at all.

    """
    segment, security_id = split_token(token)
    if segment == INDICES:
        raise ValueError(f"{request.symbol} is an index: it cannot be traded")
    if request.quantity <= 0:
        raise ValueError(f"quantity {request.quantity}: expected more than zero")
    if not re.fullmatch(r"[A-Za-z0-9 _-]{1,30}", request.tag):
        raise ValueError(f"tag {request.tag!r}: expected 1 to 30 letters, digits, spaces, _ and -")
    if request.product not in PRODUCTS:
        raise ValueError(f"product {request.product!r}: expected one of {', '.join(PRODUCTS)}")
    return {
        "dhanClientId": client_id, "correlationId": request.tag, "transactionType": request.side.value,
        "exchangeSegment": segment, "productType": PRODUCTS[request.product],
        "orderType": "MARKET" if request.limit_price is None else "LIMIT", "validity": "DAY",
        "securityId": security_id, "quantity": request.quantity, "disclosedQuantity": 0,
        "price": float(request.limit_price or 0), "triggerPrice": 0.0, "afterMarketOrder": False,
    }  # fmt: skip


def classify(status: int, body: bytes) -> WriteResult:
    """Say what a reply proves. Only the documented shapes prove anything; the rest is UNKNOWN."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return unknown(status, "its body is not JSON")
    if not isinstance(reply, dict):
        return unknown(status, "its body is not a JSON object")
    if status in _SUCCESS and "errorCode" not in reply:
        order_id = reply.get("orderId")
        if isinstance(order_id, str) and order_id and isinstance(reply.get("orderStatus"), str):
            return WriteResult(Outcome.ACKED, order_id)
        return unknown(status, "it has no order id")
    return _refusal(status, reply)


def _refusal(status: int, reply: Mapping[str, Any]) -> WriteResult:
    code, message = reply.get("errorCode"), reply.get("errorMessage")
    if (
        not isinstance(code, str)
        or not isinstance(message, str)
        or not isinstance(reply.get("errorType"), str)
    ):
        return unknown(status, "its body is not of the documented shape")
    text = f"{code}: {message}"
    # 5xx comes from behind the point where an order may have been booked already.
    reason = _reason(code, message) if 400 <= status < 500 else None
    return unknown(status, text) if reason is None else rejected(text, reason)


def _reason(code: str, message: str) -> RejectReason | None:
    """Return why there is no order; None: there may be one."""
    if code in _AT_THE_DOOR:
        return _AT_THE_DOOR[code]
    if code == _RATE_LIMIT:  # refused at the door: such requests are not orders
        return RejectReason.DAY_LIMIT if _TODAY.search(message) else RejectReason.RATE
    if code not in _BY_TEXT or leaves_doubt(message):
        return None
    return REFUSALS.reason(message)
