"""DhanHQ 2 on the simulated exchange: the market feed, the socket of order updates and the HTTP API.

Built from the public documentation and the behaviour the official client expects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from aiohttp import web

from marketdata.brokers.dhan.simulated import demo
from marketdata.brokers.dhan.simulated.alerts import DhanAlerts
from marketdata.brokers.dhan.simulated.catalogue import Catalogue
from marketdata.brokers.dhan.simulated.feed import DhanHub
from marketdata.brokers.dhan.simulated.rest import DhanApi, Paths
from marketdata.brokers.dhan.simulated.sessions import Sessions
from marketdata.simulator.market import Market

_CREDENTIALS = {
    "client_id": demo.DHAN_DEMO_CLIENT_ID,
    "api_key": demo.DHAN_DEMO_API_KEY,
    "api_secret": demo.DHAN_DEMO_API_SECRET,
    "access_token": demo.DHAN_DEMO_ACCESS_TOKEN,
}
DEMO = {**_CREDENTIALS, "pin": demo.DHAN_PIN, "totp_secret": demo.DHAN_TOTP_SECRET}
_Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(market: Market, roots: Mapping[str, str]) -> web.Application:
    """Return the surface with the demo account in it, each part at the path of its root."""
    market.exchange.accounts.create(**_CREDENTIALS)
    catalogue, sessions = Catalogue(market.exchange.instruments.values()), Sessions(market)
    hub, alerts = DhanHub(market, catalogue, sessions), DhanAlerts(market, catalogue, sessions)
    for sockets in (hub, alerts):
        market.hubs.append(sockets)
        market.exchange.observe(sockets)
    app = web.Application(client_max_size=1024**2)
    _mount_sockets(app, roots, hub.serve, alerts.serve)
    api, auth, instruments = (_path(roots[role]) for role in ("api", "auth", "instruments"))
    paths = Paths(api, auth, instruments or "/api-data/api-scrip-master.csv")
    DhanApi(market, catalogue, sessions, paths).mount(app)
    return app


def _path(root: str) -> str:
    return urlsplit(root).path.rstrip("/")


def _mount_sockets(app: web.Application, roots: Mapping[str, str], feed: _Serve, alerts: _Serve) -> None:
    """Route both sockets; where their paths are the same, as in reality, the port tells them apart."""
    paths = [_path(roots[role]) or "/" for role in ("feed", "order_feed")]
    port = urlsplit(roots["order_feed"]).port

    async def either(request: web.Request) -> web.StreamResponse:
        local = request.transport.get_extra_info("sockname")[1] if request.transport else None
        return await (alerts if local == port else feed)(request)

    if paths[0] == paths[1]:
        app.router.add_get(paths[0], either)
    else:
        app.router.add_get(paths[0], feed)
        app.router.add_get(paths[1], alerts)
