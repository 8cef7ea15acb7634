"""Kite's daily login: a page of Kite's, and what it sends back exchanged for a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import NoReturn
from urllib.parse import urlencode

from marketdata.brokers.zerodha import book
from marketdata.brokers.zerodha.reading import client, read
from marketdata.brokers.zerodha.roots import root
from marketdata.domain.errors import BrokerRejected
from marketdata.domain.sessions import IST
from marketdata.ports import BrokerConfig, BrowserLogin, Checked, Login, TypedLogin
from marketdata.replies import text
from marketdata.secret import Secret

_TOKENS_DIE = time(6)


class KiteLogin:
    """Implements ``ports.Login``."""

    browser: BrowserLogin | None = BrowserLogin(
        title="Log in at Zerodha",
        hint="You log in on Zerodha's own page and come back here. The login lasts until 06:00 the next morning.",
        returns_state=True,
    )
    typed: Sequence[TypedLogin] = ()

    def address(self, config: BrokerConfig, state: str) -> str:
        """Return Kite's login page; it hands ``redirect_params`` on to the callback."""
        _require_app(config)
        query = {"v": "3", "api_key": config.api_key, "redirect_params": urlencode({"state": state})}
        return f"{root('login')}?{urlencode(query)}"

    def exchange(self, config: BrokerConfig, answer: Mapping[str, str]) -> Secret:
        """Exchange the callback's request token, good for minutes and once, for a session's token."""
        _require_app(config)
        request_token = answer.get("request_token", "")
        if answer.get("status") != "success" or not request_token:
            raise BrokerRejected("Kite did not complete the login")
        kite = client(root("api"), config)
        return read(
            lambda: Secret(
                text(kite.generate_session(request_token, config.api_secret.reveal()), "access_token")
            )
        )

    def by_typing(self, config: BrokerConfig, way: str, typed: Mapping[str, str]) -> NoReturn:
        """Refuse: Kite has a page of its own."""
        raise BrokerRejected("Zerodha is logged in to on its own page only")

    def check(self, config: BrokerConfig, now: datetime) -> Checked:
        """Ask for the profile. A token that works now dies at the next 06:00 IST."""
        kite = client(root("api"), config)
        return Checked(read(lambda: book.user_id(kite.profile())), tokens_die(now))


def tokens_die(now: datetime) -> datetime:
    """Return the next 06:00 IST after ``now`` (timezone-aware).

    Kite says "06:00 of the next day". For a login between midnight and six it is not
    documented which day that is; the earlier one is believed.
    """
    local = now.astimezone(IST)
    today = datetime.combine(local.date(), _TOKENS_DIE, IST)
    return today if local < today else today + timedelta(days=1)


def _require_app(config: BrokerConfig) -> None:
    missing = [
        name for name, value in (("API key", config.api_key), ("API secret", config.api_secret)) if not value
    ]
    if missing:
        raise BrokerRejected(
            f"the account has no {' and no '.join(missing)}: enter what the Kite Connect app shows"
        )


LOGIN: Login = KiteLogin()
