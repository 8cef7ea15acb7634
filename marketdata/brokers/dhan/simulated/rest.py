"""The HTTP API: routes, authentication, faults, and the shape of every answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from marketdata.brokers.dhan.simulated import errors, handlers
from marketdata.brokers.dhan.simulated.auth import Desk
from marketdata.brokers.dhan.simulated.calls import RATES, Call, caller, form
from marketdata.brokers.dhan.simulated.catalogue import Catalogue
from marketdata.brokers.dhan.simulated.errors import DhanError, dead_data_token, dead_token
from marketdata.brokers.dhan.simulated.scrip_master import csv
from marketdata.brokers.dhan.simulated.sessions import Sessions
from marketdata.simulator.calls import after, before
from marketdata.simulator.limits import Limiter, Windows
from marketdata.simulator.market import Market


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route. ``operation`` is the name faults and counters know it by."""

    method: str
    path: str
    operation: str
    handle: Callable[[Call], Any]
    is_public: bool = False


ENDPOINTS = (
    Endpoint("GET", "/profile", "profile", handlers.profile),
    Endpoint("GET", "/orders", "orders", handlers.orders),
    Endpoint("POST", "/orders", "place", handlers.place),
    Endpoint("POST", "/orders/slicing", "place", handlers.slicing),
    Endpoint("GET", "/orders/external/{correlation_id}", "find", handlers.order_by_correlation),
    Endpoint("GET", "/orders/{order_id}", "orders", handlers.order),
    Endpoint("PUT", "/orders/{order_id}", "modify", handlers.modify),
    Endpoint("DELETE", "/orders/{order_id}", "cancel", handlers.cancel),
    Endpoint("GET", "/trades", "trades", handlers.trades),
    Endpoint("GET", "/trades/", "trades", handlers.trades),  # as the official client asks
    Endpoint("GET", "/trades/{order_id}", "trades", handlers.order_trades),
    Endpoint("GET", "/positions", "positions", handlers.positions),
    Endpoint("GET", "/holdings", "holdings", handlers.holdings),
    Endpoint("GET", "/fundlimit", "funds", handlers.funds),
    Endpoint("POST", "/marketfeed/ltp", "quotes", handlers.quotes),
    Endpoint("POST", "/marketfeed/ohlc", "quotes", handlers.quotes),
    Endpoint("POST", "/marketfeed/quote", "quotes", handlers.quotes),
)


@dataclass(frozen=True, slots=True)
class Paths:
    """Where on its hosts each part of the API is."""

    api: str
    auth: str
    instruments: str


class DhanApi:
    """Serves the endpoints on an exchange."""

    def __init__(self, market: Market, catalogue: Catalogue, sessions: Sessions, paths: Paths) -> None:
        self._market = market
        self._catalogue = catalogue
        self._sessions = sessions
        self._paths = paths
        self._limiter = Limiter(market.clock, RATES)
        self._desk = Desk(Windows(market.clock))
        self._list = b""
        market.variants |= {handlers.EMPTY_HOLDINGS: "error", handlers.DATA_PLAN: "Active"}

    def mount(self, app: web.Application) -> None:
        for endpoint in ENDPOINTS:
            app.router.add_route(endpoint.method, self._paths.api + endpoint.path, self._server(endpoint))
        for endpoint in self._logins():
            app.router.add_route(endpoint.method, endpoint.path, self._server(endpoint))
        app.router.add_route("*", "/{path:.*}", _not_found)

    def _logins(self) -> tuple[Endpoint, ...]:
        auth, desk = self._paths.auth, self._desk
        consume = f"{auth}/app/consumeApp-consent"
        return (
            Endpoint("POST", f"{auth}/app/generateAccessToken", "session", desk.generate, is_public=True),
            Endpoint("POST", f"{auth}/app/generate-consent", "session", desk.consent, is_public=True),
            Endpoint("GET", f"{auth}/login/consentApp-login", "login", desk.login, is_public=True),
            Endpoint("GET", consume, "session", desk.consume, is_public=True),
            Endpoint("POST", consume, "session", desk.consume, is_public=True),
            Endpoint("GET", f"{self._paths.api}/RenewToken", "session", desk.renew),
            Endpoint("GET", self._paths.instruments, "instruments", self._instruments, is_public=True),
        )

    def _instruments(self, call: Call) -> web.Response:
        if not self._list:
            rows = [(call.instrument(symbol), key) for symbol, key in self._catalogue.by_symbol.items()]
            self._list = csv(rows).encode()
        return web.Response(body=self._list, content_type="text/csv")

    def _server(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            account = caller(request, self._sessions)
            noted = partial(self._market.answered, account, endpoint.operation)
            return await self._market.arrivals.answer(request, self._response(endpoint, request), noted)

        return serve

    async def _response(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(endpoint, await self._call(endpoint, request))
        except DhanError as exc:
            return exc.response()

    async def _call(self, endpoint: Endpoint, request: web.Request) -> Call:
        account = caller(request, self._sessions)
        self._market.receive(account, endpoint.operation)
        if account is None and not endpoint.is_public:
            raise dead_data_token() if endpoint.operation == "quotes" else dead_token()
        if broken := self._market.broken_limit(self._limiter, account, endpoint.operation):
            raise errors.too_many(broken.name)
        body = await form(request)
        return Call(
            self._market, "dhan", request, endpoint.operation, account, self._catalogue, self._sessions, body
        )

    async def _answer(self, endpoint: Endpoint, call: Call) -> web.StreamResponse:
        if struck := await before(call, errors):
            return struck
        result = endpoint.handle(call)
        if struck := await after(call, errors):
            return struck
        return result if isinstance(result, web.StreamResponse) else web.json_response(result)


async def _not_found(request: web.Request) -> web.StreamResponse:
    message = f"{request.method} {request.path} is not simulated."
    return DhanError(message, "DH-905", 404).response()
