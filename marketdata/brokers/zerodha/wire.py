"""One order write to Kite, on a connection of its own.

Source: Kite Connect 3 documentation, "Orders" and "Exceptions and errors".
"""

from __future__ import annotations

import http
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from marketdata.brokers.zerodha.refusals import REFUSALS
from marketdata.domain.errors import BrokerRejected
from marketdata.domain.orders import OrderRequest, Outcome, RejectReason, WriteResult
from marketdata.doubts import leaves_doubt
from marketdata.ports import BrokerConfig
from marketdata.single_shot import SingleShot, Write, rejected, unknown

_MARKET_PROTECTION_AUTOMATIC = "-1"  # without one, Kite refuses every market order
_VARIETY = "regular"

# Refused at the door, before there can be an order: whatever the text says.
_AT_THE_DOOR = frozenset({"TokenException", "PermissionException", "UserException"})
_BY_TEXT = frozenset({"InputException", "OrderException", "HoldingException", "MarginException"})
_ADDRESS = re.compile(r"\bip\b", re.IGNORECASE)
_AUTHORISE = re.compile(r"authori[sz]", re.IGNORECASE)
_ADVICE = "Check the orderbook for open orders"  # they hold margin: it is not about the order refused
_TODAY = re.compile(r"\b(?:day|daily|today)\b", re.IGNORECASE)
_TOO_MANY = 429


class KiteWire:
    """An open connection for exactly one write."""

    def __init__(self, shot: SingleShot, config: BrokerConfig) -> None:
        self._shot = shot
        self._config = config

    @classmethod
    def open(cls, root: str, config: BrokerConfig) -> KiteWire:
        """Connect and send nothing. Raises ``BrokerUnavailable``."""
        return cls(SingleShot.open(root), config)

    def is_open(self) -> bool:
        """Tell whether the broker has kept the connection open, as far as is known here."""
        return self._shot.is_open()

    def prepare(self, request: OrderRequest) -> None:
        """Encode one order. Raises ``BrokerRejected`` when Kite could not take it."""
        try:
            form = order_form(request)
        except ValueError as exc:
            raise BrokerRejected(str(exc)) from exc
        self._shot.prepare(self._write("POST", f"/orders/{_VARIETY}", urlencode(form).encode()))

    def send(self, not_after: float) -> WriteResult:
        """Send the order, unless ``not_after`` (monotonic seconds) is past."""
        return self._shot.send(classify, not_after)

    def cancel(self, order_id: str) -> WriteResult:
        """Ask for one order to be cancelled. Raises ``BrokerRejected`` before anything is sent."""
        self._shot.prepare(self._write("DELETE", f"/orders/{_VARIETY}/{quote(order_id, safe='')}", b""))
        return self._shot.send(classify)

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self._shot.close()

    def _write(self, method: str, path: str, body: bytes) -> Write:
        headers = {
            "X-Kite-Version": "3",
            "Authorization": f"token {self._config.api_key}:{self._config.access_token.reveal()}",
        }
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return Write(method, path, headers, body)


def order_form(request: OrderRequest) -> dict[str, str]:
    """Return the form fields of a regular day order.

    Raises:
        ValueError: Kite could not take this request at all.

    """
    exchange, separator, tradingsymbol = request.symbol.partition(":")
    if not separator or not exchange or not tradingsymbol:
        raise ValueError(f"symbol {request.symbol!r}: expected EXCHANGE:TRADINGSYMBOL")
    if request.quantity <= 0:
        raise ValueError(f"quantity {request.quantity}: expected more than zero")
    if not re.fullmatch(r"[A-Za-z0-9]{1,20}", request.tag):
        raise ValueError(f"tag {request.tag!r}: expected 1 to 20 letters and digits")
    form = {
        "variety": _VARIETY, "exchange": exchange, "tradingsymbol": tradingsymbol,
        "transaction_type": request.side.value, "quantity": str(request.quantity),
        "product": request.product, "validity": "DAY", "tag": request.tag,
    }  # fmt: skip
    if request.limit_price is None:
        return {**form, "order_type": "MARKET", "market_protection": _MARKET_PROTECTION_AUTOMATIC}
    return {**form, "order_type": "LIMIT", "price": format(request.limit_price, "f")}


def classify(status: int, body: bytes) -> WriteResult:
    """Say what a reply proves. Only the documented shapes prove anything; the rest is UNKNOWN."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return unknown(status, "its body is not JSON")
    if not isinstance(reply, dict):
        return unknown(status, "its body is not a JSON object")
    if status == http.HTTPStatus.OK and reply.get("status") == "success":
        data = reply.get("data")
        order_id = data.get("order_id") if isinstance(data, dict) else None
        if isinstance(order_id, str) and order_id:
            return WriteResult(Outcome.ACKED, order_id)
        return unknown(status, "it has no order id")
    return _refusal(status, reply)


def _refusal(status: int, reply: Mapping[str, Any]) -> WriteResult:
    kind, message = reply.get("error_type"), reply.get("message")
    if reply.get("status") != "error" or not isinstance(kind, str) or not isinstance(message, str):
        return unknown(status, "its body is not of the documented shape")
    text = f"{kind}: {message}"
    # 5xx comes from behind the point where an order may have been booked already.
    reason = _reason(kind, message, status) if 400 <= status < 500 else None
    return unknown(status, text) if reason is None else rejected(text, reason)


def _reason(kind: str, message: str, status: int) -> RejectReason | None:
    """Return why there is no order; None: there may be one."""
    if status == _TOO_MANY:  # refused at the door: "rate limiting"; such requests are not orders
        return RejectReason.DAY_LIMIT if _TODAY.search(message) else RejectReason.RATE
    if kind in _AT_THE_DOOR:
        return _at_the_door(kind, message)
    if kind not in _BY_TEXT or leaves_doubt(message.replace(_ADVICE, "")):
        return None
    if kind == "MarginException":
        return RejectReason.MARGIN
    if kind == "HoldingException":
        return RejectReason.AUTHORISATION if _AUTHORISE.search(message) else RejectReason.HOLDINGS
    return REFUSALS.reason(message)


def _at_the_door(kind: str, message: str) -> RejectReason:
    if kind == "TokenException":
        return RejectReason.LOGIN
    return RejectReason.IP if _ADDRESS.search(message) else RejectReason.OTHER
