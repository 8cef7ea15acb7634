"""One request to Kite: who asks, for what, and how often that is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from marketdata.brokers.zerodha.simulated.catalogue import Catalogue
from marketdata.brokers.zerodha.simulated.errors import dead_token
from marketdata.simulator import calls
from marketdata.simulator.accounts import Account
from marketdata.simulator.limits import (
    DAY_S,
    MINUTE_S,
    ORDER_OPERATIONS,
    PER_DAY,
    PER_MINUTE,
    PER_SECOND,
    SECOND_S,
    Rate,
)
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


RATES = (
    Rate(10, SECOND_S, ORDER_OPERATIONS, PER_SECOND),
    Rate(400, MINUTE_S, ORDER_OPERATIONS, PER_MINUTE),
    Rate(5_000, DAY_S, frozenset({"place"}), PER_DAY),  # documented: changes and cancels do not count here
    Rate(1, SECOND_S, frozenset({"quotes"})),
    Rate(10, SECOND_S),
)


def success(data: Any) -> web.Response:
    return web.json_response({"status": "success", "data": data})
