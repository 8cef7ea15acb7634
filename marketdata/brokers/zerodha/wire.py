"""One order write to Kite: one HTTP request on one connection, its outcome classified by where it failed.

No retry and no redirect: no broker tells a second copy of an order from a second order.
Source: Kite Connect 3 documentation, "Orders" and "Exceptions and errors".
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from marketdata.domain.errors import BrokerUnavailable
from marketdata.domain.orders import OrderRequest, Outcome, RejectClass, WriteResult
from marketdata.ports import BrokerConfig
from marketdata.transport import tls_context

CONNECT_S = 2.0
READ_S = 10.0
_MAX_REPLY = 1 << 20
_MARKET_PROTECTION_AUTOMATIC = "-1"  # without one, Kite refuses every market order
_VARIETY = "regular"

_HUMAN = frozenset(
    {"TokenException", "PermissionException", "UserException", "MarginException", "HoldingException"}
)
_BY_TEXT = frozenset({"InputException", "OrderException"})
# Their texts are not documented as a list: what is not recognised here waits for a person.
_FIX = re.compile(
    r"market protection|tick size|price band|circuit|freeze|lot size|multiple of|price range|execution range",
    re.IGNORECASE,
)
_WAIT = re.compile(r"too many requests|rate limit|halt|suspended|try again|try after|temporar", re.IGNORECASE)
_TOO_MANY = 429


class KiteWire:
    """An open connection for exactly one write."""

    def __init__(self, connection: http.client.HTTPConnection, config: BrokerConfig) -> None:
        self._connection = connection
        self._config = config
        self._used = False

    @classmethod
    def open(cls, root: str, config: BrokerConfig) -> KiteWire:
        """Connect, with TLS where the root says so, and send nothing.

        Raises:
            BrokerUnavailable: Not reached, or not trusted.

        """
        parts = urlsplit(root)
        host = parts.hostname or ""
        if parts.scheme == "https":
            secure = http.client.HTTPSConnection(host, parts.port, timeout=CONNECT_S, context=tls_context())
            connection: http.client.HTTPConnection = secure
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=CONNECT_S)
        connection.auto_open = 0  # it must never connect again by itself
        try:
            connection.connect()
        except OSError as exc:
            connection.close()
            raise BrokerUnavailable(f"{parts.netloc} was not reached: {exc.strerror or exc}") from exc
        return cls(connection, config)

    def place(self, request: OrderRequest) -> WriteResult:
        """Send one order."""
        try:
            form = order_form(request)
        except ValueError as exc:
            return WriteResult(Outcome.NOT_SENT, message=str(exc))
        return self._send("POST", f"/orders/{_VARIETY}", form)

    def cancel(self, order_id: str) -> WriteResult:
        """Ask for one order to be cancelled."""
        return self._send("DELETE", f"/orders/{_VARIETY}/{quote(order_id, safe='')}", {})

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self._connection.close()

    def _send(self, method: str, path: str, form: Mapping[str, str]) -> WriteResult:
        if self._used:
            raise RuntimeError("this connection has carried its one write: open another")
        self._used = True
        sock = self._connection.sock
        if sock is None:
            return WriteResult(Outcome.NOT_SENT, message="the connection was closed before the request")
        body = urlencode(form).encode() if form else b""
        try:
            self._head(method, path, len(body))
        except (http.client.HTTPException, ValueError):  # their texts quote the header with the token
            self.close()
            return WriteResult(Outcome.NOT_SENT, message="no HTTP request can be made of these credentials")
        try:
            with _deadline(sock):
                self._connection.endheaders(body)  # the first byte leaves here
                status, reply = self._reply()
        except (OSError, http.client.HTTPException, ValueError) as exc:
            # Some of the request may have arrived, and all of it may have.
            return WriteResult(
                Outcome.UNKNOWN, message=f"no answer to the {method}: {type(exc).__name__}: {exc}"
            )
        finally:
            self.close()
        return classify(status, reply)

    def _head(self, method: str, path: str, length: int) -> None:
        # Gathered in memory; nothing leaves before `endheaders`.
        headers = {
            "X-Kite-Version": "3",
            "Authorization": f"token {self._config.api_key}:{self._config.access_token.reveal()}",
            "Connection": "close",
            "Content-Length": str(length),
        }
        if length:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            self._connection.putheader(name, value)

    def _reply(self) -> tuple[int, bytes]:
        reply = self._connection.getresponse()
        body = reply.read(_MAX_REPLY)
        if reply.length:  # what was announced did not all come
            raise http.client.IncompleteRead(body, reply.length)
        return reply.status, body


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
        return _unknown(status, "its body is not JSON")
    if not isinstance(reply, dict):
        return _unknown(status, "its body is not a JSON object")
    if status == http.HTTPStatus.OK and reply.get("status") == "success":
        data = reply.get("data")
        order_id = data.get("order_id") if isinstance(data, dict) else None
        if isinstance(order_id, str) and order_id:
            return WriteResult(Outcome.ACKED, order_id)
        return _unknown(status, "it has no order id")
    return _refusal(status, reply)


def _refusal(status: int, reply: Mapping[str, Any]) -> WriteResult:
    kind, message = reply.get("error_type"), reply.get("message")
    if reply.get("status") != "error" or not isinstance(kind, str) or not isinstance(message, str):
        return _unknown(status, "its body is not of the documented shape")
    text = f"{kind}: {message}"
    # 5xx comes from behind the point where an order may have been booked already.
    reject_class = _reject_class(kind, message, status) if 400 <= status < 500 else None
    if reject_class is None:
        return _unknown(status, text)
    return WriteResult(Outcome.REJECTED, message=text, reject_class=reject_class)


def _reject_class(kind: str, message: str, status: int) -> RejectClass | None:
    if status == _TOO_MANY:  # refused at the door: "rate limiting"; such requests are not orders
        return RejectClass.WAIT
    if kind in _HUMAN:
        return RejectClass.HUMAN
    if kind not in _BY_TEXT:
        return None
    if _FIX.search(message):
        return RejectClass.FIX
    return RejectClass.WAIT if _WAIT.search(message) else RejectClass.HUMAN


def _unknown(status: int, why: str) -> WriteResult:
    return WriteResult(Outcome.UNKNOWN, message=f"HTTP {status}: {why}")


@contextmanager
def _deadline(sock: socket.socket) -> Iterator[None]:
    # A timeout of the socket starts anew with each byte, so a trickle could hold us for ever:
    # after READ_S in all, the connection is shut under the reader.
    def shut() -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    sock.settimeout(READ_S)
    timer = threading.Timer(READ_S, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
