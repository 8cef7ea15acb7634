"""Dhan's REST reads through the official SDK, what it hides brought back as our five errors.

The SDK raises nothing and says "failure" for whatever went wrong, so what came over the wire
is remembered beside it.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import requests

from marketdata.asking import ReadSession
from marketdata.domain.errors import BadReply, BrokerError, BrokerRejected, BrokerUnavailable, LoginExpired
from marketdata.ports import BrokerConfig

CONNECT_S = 2.0
READ_S = 10.0
_CONNECTIONS = 4
_SHOWN = 200

_NO_HOLDINGS = "DH-1111"  # undocumented: how an account without shares is told, with HTTP 500
_AUTHENTICATION = "DH-901"
_PASSING = frozenset({"DH-904", "DH-908", "DH-909"})  # rate limit, server, network behind the API
_DATA_LOGIN = frozenset({"807", "808", "809", "810"})
_DATA_PASSING = frozenset({"800", "805"})

_sdk_log = logging.getLogger("dhanhq")
_sdk_log.setLevel(logging.CRITICAL)  # each failure is told again, in our words

Ask = Callable[[], Mapping[str, Any]]


class DhanReads:
    """One account's reads. Safe to use from several threads."""

    def __init__(self, root: str, config: BrokerConfig) -> None:
        self._wire = _Remembering()
        self.sdk = _sdk(root, config, self._wire)

    def profile(self) -> Any:
        """Return ``GET /profile``, for which the SDK's own call has no timeout."""
        return self.read(lambda: self.sdk.dhan_http.get("/profile"))

    def holdings(self) -> Any:
        """Return the holdings; none is an error at Dhan, and a list of none here."""
        try:
            return self.read(self.sdk.get_holdings)
        except _NoHoldings:
            return []

    def read(self, ask: Ask) -> Any:
        """Return what one SDK call read.

        Raises:
            LoginExpired: The token is dead.
            BrokerRejected: Refused, and would be again.
            BrokerUnavailable: Not reached, or in trouble.
            BadReply: An answer of another shape than documented.

        """
        self._wire.forget()
        reply = ask()
        if reply["status"] == "success":
            return reply["data"]
        raise self._wire.failure()


class _NoHoldings(BrokerRejected):
    pass


class _Remembering(ReadSession):
    """A session that keeps each thread's last answer, for the SDK throws status and body away."""

    def __init__(self) -> None:
        super().__init__(_CONNECTIONS)
        self._last = threading.local()

    def forget(self) -> None:
        self._last.answer = self._last.error = None

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        try:
            self._last.answer = super().request(*args, **kwargs)
        except requests.exceptions.RequestException as exc:
            self._last.error = exc
            raise
        return self._last.answer  # type: ignore[no-any-return]

    def failure(self) -> BrokerError:
        """Return what the last request of this thread came to."""
        answer, error = self._last.answer, self._last.error
        if answer is None:
            return BrokerUnavailable(f"Dhan did not answer: {type(error).__name__}")
        return translated(answer.status_code, answer.content)


def _sdk(root: str, config: BrokerConfig, session: requests.Session) -> Any:
    from dhanhq import DhanContext, dhan_http, dhanhq

    dhan_http.logging = _sdk_log  # it writes to the root logger, at every failure
    context = DhanContext(config.client_id, config.access_token.reveal())
    http = context.get_dhan_http()
    http.session.close()
    http.base_url, http.timeout, http.session = root, (CONNECT_S, READ_S), session
    return dhanhq(context)


def translated(status: int, body: bytes) -> BrokerError:
    """Return our error for an answer that is no success."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        reply = None
    if isinstance(reply, dict):
        if isinstance(code := reply.get("errorCode"), str):
            return _trading_error(status, code, reply)
        if isinstance(data := reply.get("data"), dict) and reply.get("status") == "failed" and data:
            return _data_error(status, data)
    if status == requests.codes.too_many_requests or status >= requests.codes.server_error:
        return BrokerUnavailable(f"Dhan: HTTP {status}")
    return BadReply(f"Dhan's answer (HTTP {status}) is not of the documented shape")


def is_about_login(code: str, message: str) -> bool:
    """Tell whether an error says that the token is dead; DH-906 says so in words."""
    return code == _AUTHENTICATION or (code == "DH-906" and "token" in message.lower())


def _trading_error(status: int, code: str, reply: Mapping[str, Any]) -> BrokerError:
    message = str(reply.get("errorMessage") or "")
    text = f"Dhan: {code} ({status}): {message}"[:_SHOWN]
    if code == _NO_HOLDINGS:
        return _NoHoldings(text)
    if is_about_login(code, message):
        return LoginExpired(text)
    passing = status == requests.codes.too_many_requests or status >= requests.codes.server_error
    return BrokerUnavailable(text) if passing or code in _PASSING else BrokerRejected(text)


def _data_error(status: int, data: Mapping[str, Any]) -> BrokerError:
    code, message = next(iter(data.items()))
    text = f"Dhan: {code} ({status}): {message}"[:_SHOWN]
    if code in _DATA_LOGIN:
        return LoginExpired(text)
    passing = status == requests.codes.too_many_requests or status >= requests.codes.server_error
    return BrokerUnavailable(text) if passing or code in _DATA_PASSING else BrokerRejected(text)
