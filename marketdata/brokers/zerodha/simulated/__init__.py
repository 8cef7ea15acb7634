"""Kite Connect 3 on the simulated exchange: the wire of the feed and the HTTP API.

Built from the public documentation and the behaviour the official client expects.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from aiohttp import web

from marketdata.brokers.zerodha.simulated.catalogue import Catalogue
from marketdata.brokers.zerodha.simulated.feed import KiteHub
from marketdata.brokers.zerodha.simulated.rest import KiteApi
from marketdata.simulator import accounts
from marketdata.simulator.market import Market

DEMO = {
    "client_id": accounts.DEMO_CLIENT_ID,
    "api_key": accounts.DEMO_API_KEY,
    "api_secret": accounts.DEMO_API_SECRET,
    "access_token": accounts.DEMO_ACCESS_TOKEN,
}


def application(market: Market, roots: Mapping[str, str]) -> web.Application:
    """Return the surface: API at the host's root, feed and login page at the paths of their roots."""
    catalogue = Catalogue(market.exchange)
    hub = KiteHub(market, catalogue)
    market.hubs.append(hub)
    market.exchange.observe(hub)
    app = web.Application()
    app.router.add_get(urlsplit(roots["feed"]).path or "/", hub.serve)
    KiteApi(market, catalogue, login_path=urlsplit(roots["login"]).path or "/connect/login").mount(app)
    return app
