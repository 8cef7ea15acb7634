"""One request to Dhan: who asks, for what, and how often that is allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aiohttp import web

from marketdata.brokers.dhan.simulated.catalogue import Catalogue, Security
from marketdata.brokers.dhan.simulated.errors import DhanError, dead_token
from marketdata.brokers.dhan.simulated.sessions import Sessions
from marketdata.simulator import calls
from marketdata.simulator.accounts import Account
from marketdata.simulator.limits import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    ORDER_OPERATIONS,
    PER_DAY,
    PER_MINUTE,
    PER_SECOND,
    SECOND_S,
    Rate,
)

RATES = (
    Rate(10, SECOND_S, ORDER_OPERATIONS, PER_SECOND),
    Rate(250, MINUTE_S, ORDER_OPERATIONS, PER_MINUTE),
    Rate(1_000, HOUR_S, ORDER_OPERATIONS),
    Rate(7_000, DAY_S, ORDER_OPERATIONS, PER_DAY),
    Rate(1, SECOND_S, frozenset({"quotes"})),
    Rate(20, SECOND_S),
)


@dataclass(slots=True)
class Call(calls.Call):
    """A request that was let in, with its JSON."""

    catalogue: Catalogue
    sessions: Sessions
    form: Mapping[str, Any]

    @property
    def account(self) -> Account:
        if self.caller is None:
            raise dead_token()
        return self.caller

    def security(self, symbol: str) -> Security:
        return self.catalogue.by_symbol[symbol]

    def query(self, name: str) -> str:
        return self.request.query.get(name, "")


def caller(request: web.Request, sessions: Sessions) -> Account | None:
    """Return whose token the request carries; naming another client with it spoils it."""
    account = sessions.by_token(request.headers.get("access-token", ""))
    named = request.headers.get("client-id") or request.headers.get("dhanClientId")
    return account if account is not None and named in (None, account.client_id) else None


async def form(request: web.Request) -> Mapping[str, Any]:
    """Return a request's JSON object, numbers exact; empty when there is no body.

    Raises:
        DhanError: A body that is none.

    """
    text = await request.text()
    try:
        found = json.loads(text, parse_float=Decimal) if text else {}
    except ValueError:
        raise DhanError("Request body is not JSON.") from None
    if not isinstance(found, dict):
        raise DhanError("Request body is not a JSON object.")
    return found
