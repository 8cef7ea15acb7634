"""The HTTP API: routes, authentication, faults, and the envelope of every answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from marketdata.brokers.zerodha.simulated import errors, handlers
from marketdata.brokers.zerodha.simulated.calls import RATES, Call, caller, success
from marketdata.brokers.zerodha.simulated.catalogue import Catalogue
from marketdata.brokers.zerodha.simulated.errors import KiteError, dead_token
from marketdata.simulator.calls import after, before
from marketdata.simulator.limits import Limiter
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
    Endpoint("POST", "/session/token", "session", handlers.open_session, is_public=True),
    Endpoint("DELETE", "/session/token", "session", handlers.close_session, is_public=True),
    Endpoint("GET", "/user/profile", "profile", handlers.profile),
    Endpoint("GET", "/instruments", "instruments", handlers.instruments, is_public=True),
    Endpoint("GET", "/instruments/{exchange}", "instruments", handlers.instruments, is_public=True),
    Endpoint("GET", "/orders", "orders", handlers.orders),
    Endpoint("GET", "/orders/{order_id}", "orders", handlers.order_history),
    Endpoint("GET", "/orders/{order_id}/trades", "trades", handlers.order_trades),
    Endpoint("POST", "/orders/{variety}", "place", handlers.place),
    Endpoint("PUT", "/orders/{variety}/{order_id}", "modify", handlers.modify),
    Endpoint("DELETE", "/orders/{variety}/{order_id}", "cancel", handlers.cancel),
    Endpoint("GET", "/trades", "trades", handlers.trades),
    Endpoint("GET", "/portfolio/positions", "positions", handlers.positions),
    Endpoint("GET", "/portfolio/holdings", "holdings", handlers.holdings),
    Endpoint("GET", "/quote", "quotes", handlers.quotes),
    Endpoint("GET", "/quote/ohlc", "quotes", handlers.quotes),
    Endpoint("GET", "/quote/ltp", "quotes", handlers.quotes),
)


class KiteApi:
    """Serves the endpoints on an exchange."""

    def __init__(self, market: Market, catalogue: Catalogue, *, login_path: str) -> None:
        self._market = market
        self._catalogue = catalogue
        self._limiter = Limiter(market.clock, RATES)
        login = Endpoint("GET", login_path, "login", handlers.login, is_public=True)
        self._endpoints = (*ENDPOINTS, login)

    def mount(self, app: web.Application) -> None:
        for endpoint in self._endpoints:
            app.router.add_route(endpoint.method, endpoint.path, self._server(endpoint))
        app.router.add_route("*", "/{path:.*}", _not_found)

    def _server(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            account = caller(request, self._market)
            noted = partial(self._market.answered, account, endpoint.operation)
            return await self._market.arrivals.answer(request, self._response(endpoint, request), noted)

        return serve

    async def _response(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(endpoint, await self._call(endpoint, request))
        except KiteError as exc:
            return exc.response()

    async def _call(self, endpoint: Endpoint, request: web.Request) -> Call:
        account = caller(request, self._market)
        self._market.receive(account, endpoint.operation)
        if account is None and not endpoint.is_public:
            raise dead_token()
        if broken := self._market.broken_limit(self._limiter, account, endpoint.operation):
            raise errors.too_many(broken.name)
        posted = await request.post()
        form = {key: value for key, value in posted.items() if isinstance(value, str)}
        return Call(self._market, "zerodha", request, endpoint.operation, account, self._catalogue, form)

    async def _answer(self, endpoint: Endpoint, call: Call) -> web.StreamResponse:
        if struck := await before(call, errors):
            return struck
        result = endpoint.handle(call)
        if struck := await after(call, errors):
            return struck
        return result if isinstance(result, web.StreamResponse) else success(result)


async def _not_found(request: web.Request) -> web.StreamResponse:
    message = f"Route not found: {request.method} {request.path} is not simulated."
    return KiteError(message, "GeneralException", 404).response()
