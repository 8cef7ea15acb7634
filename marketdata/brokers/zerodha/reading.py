"""Kite's REST reads through the official SDK, its oddities turned into our five errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import requests

from marketdata.asking import ReadSession
from marketdata.domain.errors import BadReply, BrokerError, BrokerRejected, BrokerUnavailable, LoginExpired
from marketdata.ports import BrokerConfig

_T = TypeVar("_T")

CONNECT_S = 2.0
READ_S = 10.0
_CONNECTIONS = 4
_SHOWN = 200
# What the SDK says when the body, not the broker, is at fault; its error code is then made up.
_NOT_THE_API = ("Couldn't parse the JSON", "Unknown Content-Type")


def client(root: str, config: BrokerConfig) -> Any:
    """Return a ``KiteConnect`` for one account, with one pooled session."""
    from marketdata.brokers.zerodha.sdk import Kite  # heavy

    kite = Kite(config.api_key, config.access_token.reveal(), root=root, timeout=(CONNECT_S, READ_S))
    kite.reqsession.close()
    kite.reqsession = ReadSession(_CONNECTIONS)
    return kite


def read(call: Callable[[], _T]) -> _T:
    """Return what ``call`` reads.

    Raises:
        LoginExpired: The token is dead.
        BrokerRejected: Refused, and would be again.
        BrokerUnavailable: Not reached, or in trouble.
        BadReply: An answer of another shape than documented.

    """
    from kiteconnect.exceptions import KiteException

    try:
        return call()
    except BrokerError:
        raise
    except KiteException as exc:
        raise _translated(type(exc).__name__, str(exc), exc.code) from exc
    except requests.exceptions.RequestException as exc:
        raise BrokerUnavailable(f"Kite did not answer: {type(exc).__name__}") from exc
    except Exception as exc:  # the SDK breaks in many ways on a body it does not expect
        raise BadReply(f"Kite's answer is not of the documented shape ({type(exc).__name__})") from exc


def _translated(kind: str, message: str, code: int) -> BrokerError:
    if message.startswith(_NOT_THE_API):  # the rest of the message is the body, whatever it holds
        return BadReply("Kite's answer is neither JSON nor CSV")
    text = f"Kite: {kind} ({code}): {message}"[:_SHOWN]
    if kind == "TokenException":
        return LoginExpired(text)
    if kind in ("NetworkException", "DataException") or code == 429 or code >= 500:
        return BrokerUnavailable(text)
    return BrokerRejected(text)
