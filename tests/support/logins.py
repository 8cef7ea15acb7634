"""What a person's browser does at a broker's login page."""

from __future__ import annotations

from itertools import count
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from django.contrib.auth.models import User
from django.test import Client

from marketdata.brokers.dhan.simulated.auth import totp
from marketdata.brokers.dhan.simulated.demo import DHAN_TOTP_SECRET
from marketdata.clock import SystemClock
from marketdata.models import BrokerAccount
from marketdata.simulator.control import SimulatorControl

OLD = "an-old-token-1"
"""The token an account has before anybody logs in."""
_numbers = count(1)


def at_the_broker(address: str) -> str:
    """Log in on the broker's page at ``address``; return where it sends the browser, without our host."""
    answer = requests.get(address, allow_redirects=False, timeout=5)
    assert answer.status_code == 302, answer.text
    parts = urlsplit(answer.headers["Location"])
    return f"{parts.path}?{parts.query}"


def through_the_browser(client: Client, pk: int) -> str:
    """Leave our page for the broker's and log in there; return the callback's address."""
    answer = client.get(f"/brokers/{pk}/login/?browser")
    assert answer.status_code == 302, answer.content
    return at_the_broker(answer.headers["Location"])


def told(client: Client, address: str, data: dict[str, str] | None = None) -> str:
    """Return the messages of the page that a GET, or with ``data`` a POST, ends on."""
    ask = client.get if data is None else client.post
    answer = ask(address, data, follow=True)
    return " ".join(map(str, answer.context["messages"]))


def new_account(user: User, control: SimulatorControl, broker: str, **changes: str) -> BrokerAccount:
    """An account whose stored token is an old one."""
    client_id = f"LG{next(_numbers):04d}"
    callback = f"http://testserver/brokers/{broker}/callback/"
    made = control.create_account(client_id, redirect_url=callback)
    values = {"client_id": client_id, "api_key": made["api_key"], "api_secret": made["api_secret"], **changes}
    return BrokerAccount.objects.create(
        user=user, broker=broker, name="Mine", access_token=OLD, generation=7, **values
    )


def token(row: BrokerAccount) -> str:
    row.refresh_from_db()
    return row.access_token.reveal()


def one_time_code() -> str:
    return totp(DHAN_TOTP_SECRET, SystemClock().time())


def with_answer(address: str, **changes: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{urlencode({**dict(parse_qsl(parts.query)), **changes})}"
