"""One request: who asks, for what, and what a fault makes of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from marketdata.brokers.zerodha.simulated.catalogue import Catalogue
from marketdata.brokers.zerodha.simulated.errors import dead_token, gateway_error, too_many
from marketdata.domain.clock import Clock
from marketdata.simulator.accounts import Account
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.market import Market

_PAGE = "<html><head><title>Maintenance</title></head><body><h1>We will be back soon</h1></body></html>"


@dataclass(slots=True)
class Call:
    """A request that was let in. Public ones have no account."""

    market: Market
    catalogue: Catalogue
    request: web.Request
    operation: str
    form: Mapping[str, str]
    caller: Account | None

    @property
    def account(self) -> Account:
        if self.caller is None:
            raise dead_token()
        return self.caller

    @property
    def client_id(self) -> str | None:
        return self.caller.client_id if self.caller else None

    def path(self, name: str) -> str:
        return self.request.match_info[name]

    def instrument(self, symbol: str) -> Instrument:
        return self.market.exchange.instrument(symbol)

    def token(self, symbol: str) -> int:
        return self.catalogue.token_by_symbol[symbol]

    def cut(self) -> web.Response:
        """End the connection without an answer."""
        cast("asyncio.Transport", self.request.transport).abort()
        return web.Response()


async def before(call: Call) -> web.Response | None:
    """Let faults strike before anything is done; a response is the end of it."""
    faults, who = call.market.faults, (call.client_id, call.operation)
    if delay := faults.take("latency", *who):
        await call.market.clock.sleep(delay.parameters["delay_s"])
    if faults.take("cut_before", *who):
        return call.cut()
    if faults.take("rate_limited", *who):
        raise too_many()
    if page := faults.take("html", *who):
        return web.Response(text=_PAGE, content_type="text/html", status=page.parameters["status"])
    failing = faults.active("server_error", *who)
    if failing and not failing.parameters["booked"]:
        faults.take("server_error", *who)
        raise gateway_error(failing.parameters["status"])
    return None


def after(call: Call) -> web.Response | None:
    """Let faults strike when it is done, in the place of the answer."""
    faults, who = call.market.faults, (call.client_id, call.operation)
    if faults.take("lost_reply", *who):
        return call.cut()
    if failing := faults.take("server_error", *who):
        raise gateway_error(failing.parameters["status"])
    return None


def caller(request: web.Request, market: Market) -> Account | None:
    """Return whose token the request carries."""
    scheme, _, pair = request.headers.get("Authorization", "").partition(" ")
    key, _, token = pair.partition(":")
    return market.exchange.accounts.authenticated(key, token) if scheme == "token" else None


class Limiter:
    """Requests per second and key, and orders per minute, as documented."""

    _PER_SECOND = {"quotes": 1, "place": 10, "modify": 10, "cancel": 10}
    _OTHERS = 10
    _ORDERS_PER_MINUTE = 400

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, str], deque[float]] = {}

    def check(self, key: str, operation: str) -> None:
        """Count a request; raises ``KiteError`` when it is one too many."""
        orders = operation in ("place", "modify", "cancel")
        bucket = "orders" if orders else "quotes" if operation == "quotes" else "others"
        self._count(key, bucket, self._PER_SECOND.get(operation, self._OTHERS), 1.0)
        if orders:
            self._count(key, "minute", self._ORDERS_PER_MINUTE, 60.0)

    def _count(self, key: str, bucket: str, limit: int, window_s: float) -> None:
        now, seen = self._clock.monotonic(), self._seen.setdefault((key, bucket), deque())
        while seen and now - seen[0] >= window_s:
            seen.popleft()
        if len(seen) >= limit:
            raise too_many()
        seen.append(now)


def success(data: Any) -> web.Response:
    return web.json_response({"status": "success", "data": data})
