"""What a person's browser does at a broker's login page."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
from django.test import Client


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
