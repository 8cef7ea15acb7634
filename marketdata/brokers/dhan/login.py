"""Dhan's logins: a pasted token, a consent given on Dhan's page, or PIN and one-time code.

Each gives a token of 24 hours. Dhan takes the PIN, the code and the callback's token id in the
query of its own addresses, so no text of a failed request is ever passed on: it quotes the address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import requests

from marketdata.asking import isolate
from marketdata.brokers.dhan import book
from marketdata.brokers.dhan.reading import translated
from marketdata.brokers.dhan.roots import root
from marketdata.domain.errors import BadReply, BrokerError, BrokerRejected, BrokerUnavailable, LoginExpired
from marketdata.domain.sessions import IST
from marketdata.ports import BrokerConfig, BrowserLogin, Checked, Login, LoginField, TypedLogin
from marketdata.replies import text
from marketdata.secret import Secret

_TIMEOUT_S = (2.0, 10.0)
_SHOWN = 200
_DEAD = frozenset({401, 403})
_VALIDITY = "%d/%m/%Y %H:%M"


class DhanLogin:
    """Implements ``ports.Login``."""

    browser: BrowserLogin | None = BrowserLogin(
        title="Log in at Dhan",
        hint="You log in on Dhan's own page and come back here. Needs the API key and secret of your Dhan app.",
        returns_state=False,
    )
    typed: Sequence[TypedLogin] = (
        TypedLogin(
            "token",
            "Paste a token",
            "Made on web.dhan.co under your profile, Access DhanHQ APIs. It lasts 24 hours.",
            (LoginField("token", "Access token"),),
        ),
        TypedLogin(
            "pin",
            "PIN and one-time code",
            "For accounts with TOTP switched on. Both go to Dhan once and are not kept.",
            (LoginField("pin", "PIN", digits=6), LoginField("totp", "One-time code", digits=6, secret=False)),
        ),
    )

    def address(self, config: BrokerConfig, state: str) -> str:
        """Ask for a consent and return the page where it is given. Dhan hands no ``state`` back."""
        query = {"client_id": _client_id(config)}
        reply = _ask("POST", f"{root('auth')}/app/generate-consent", query, _app(config))
        consent = {"consentAppId": _promised(reply, "consentAppId")}
        return f"{root('auth')}/login/consentApp-login?{urlencode(consent)}"

    def exchange(self, config: BrokerConfig, answer: Mapping[str, str]) -> Secret:
        """Exchange the callback's token id for a token."""
        if not (token_id := answer.get("tokenId", "")):
            raise BrokerRejected("Dhan did not complete the login")
        reply = _ask("GET", f"{root('auth')}/app/consumeApp-consent", {"tokenId": token_id}, _app(config))
        return Secret(_promised(reply, "accessToken"))

    def by_typing(self, config: BrokerConfig, way: str, typed: Mapping[str, str]) -> Secret:
        """Take a pasted token as it is, or ask for one with PIN and code."""
        if way == "token":
            return _pasted(typed["token"])
        query = {"dhanClientId": _client_id(config), "pin": typed["pin"], "totp": typed["totp"]}
        return Secret(
            _promised(_ask("POST", f"{root('auth')}/app/generateAccessToken", query, {}), "accessToken")
        )

    def check(self, config: BrokerConfig, now: datetime) -> Checked:
        """Ask for the profile, which says whose the token is and until when."""
        headers = {"access-token": _pasted(config.access_token.reveal()).reveal()}
        if config.client_id:
            headers["client-id"] = _header("client id", config.client_id)
        reply = _ask("GET", f"{root('api')}/profile", {}, headers)
        return Checked(book.client_id(reply), _validity(text(reply, "tokenValidity")))


def _pasted(token: str) -> Secret:
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BrokerRejected("that is not a token of Dhan's: copy the whole of it, and nothing else")
    return Secret(token)


def _client_id(config: BrokerConfig) -> str:
    if not config.client_id:
        raise BrokerRejected("the account has no client id: enter your Dhan client id, or paste a token")
    return config.client_id


def _app(config: BrokerConfig) -> dict[str, str]:
    if not config.api_key or not config.api_secret:
        raise BrokerRejected("the account has no API key or no API secret: enter what your Dhan app shows")
    return {
        "app_id": _header("API key", config.api_key),
        "app_secret": _header("API secret", config.api_secret.reveal()),
    }


def _header(name: str, value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise BrokerRejected(f"the account's {name} has letters that Dhan never uses: enter it again")
    return value


def _ask(method: str, url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Any:
    with requests.Session() as session:
        isolate(session)
        try:
            reply = session.request(method, url, params=query, headers=headers, timeout=_TIMEOUT_S)
        except requests.exceptions.RequestException as exc:
            # `from None`: the library's texts quote the address, and with it what was typed.
            raise BrokerUnavailable(f"Dhan did not answer ({type(exc).__name__})") from None
    try:
        body = reply.json()
    except (ValueError, RecursionError):
        body = None
    if reply.status_code != requests.codes.ok:
        raise _refused(reply.status_code, reply.content, body)
    if not isinstance(body, dict):
        raise BadReply("Dhan's answer is not a JSON object")
    return body


def _promised(reply: Any, name: str) -> str:
    # Dhan refuses with 200 too: then a message stands where the field should be.
    if name not in reply and (message := _message(reply)):
        raise BrokerRejected(f"Dhan: {message}"[:_SHOWN])
    return text(reply, name)


def _refused(status: int, content: bytes, body: Any) -> BrokerError:
    # The API's shapes are known; the login host has a plain one of its own.
    if not (message := _message(body)):
        return translated(status, content)
    said = f"Dhan (HTTP {status}): {message}"[:_SHOWN]
    if status in _DEAD:
        return LoginExpired(said)
    passing = status == requests.codes.too_many_requests or status >= requests.codes.server_error
    return BrokerUnavailable(said) if passing else BrokerRejected(said)


def _message(body: Any) -> str:
    said = (body.get("message") or body.get("remarks")) if isinstance(body, dict) else None
    return said if isinstance(said, str) else ""


def _validity(said: str) -> datetime:
    try:
        return datetime.strptime(said, _VALIDITY).replace(tzinfo=IST)
    except ValueError:
        raise BadReply(f"tokenValidity: expected dd/mm/yyyy HH:MM, got {said!r}") from None


LOGIN: Login = DhanLogin()
