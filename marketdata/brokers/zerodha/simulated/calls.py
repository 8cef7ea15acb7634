"""One request to Kite: who asks, for what, and how often that is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from marketdata.brokers.zerodha.simulated.catalogue import Catalogue
from marketdata.brokers.zerodha.simulated.errors import dead_token, too_many
from marketdata.domain.clock import Clock
from marketdata.simulator import calls
from marketdata.simulator.accounts import Account
from marketdata.simulator.market import Market


@dataclass(slots=True)
class Call(calls.Call):
    """A request that was let in, with its form."""

    catalogue: Catalogue
    form: Mapping[str, str]

    @property
    def account(self) -> Account:
        if self.caller is None:
            raise dead_token()
        return self.caller

    def token(self, symbol: str) -> int:
        return self.catalogue.token_by_symbol[symbol]


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
        self._windows = calls.Windows(clock)

    def check(self, key: str, operation: str) -> None:
        """Count a request; raises ``KiteError`` when it is one too many."""
        orders = operation in ("place", "modify", "cancel")
        bucket = "orders" if orders else "quotes" if operation == "quotes" else "others"
        self._count(key, bucket, self._PER_SECOND.get(operation, self._OTHERS), 1.0)
        if orders:
            self._count(key, "minute", self._ORDERS_PER_MINUTE, 60.0)

    def _count(self, key: str, bucket: str, limit: int, window_s: float) -> None:
        if not self._windows.admits(key, bucket, limit, window_s):
            raise too_many()


def success(data: Any) -> web.Response:
    return web.json_response({"status": "success", "data": data})
