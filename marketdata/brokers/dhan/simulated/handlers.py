"""What each endpoint of the API does, from a call to its data."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from marketdata.brokers.dhan.simulated import errors, tickets, views
from marketdata.brokers.dhan.simulated.calls import Call
from marketdata.brokers.dhan.simulated.errors import DhanError, dead_token, invalid, order_error
from marketdata.simulator import calls
from marketdata.simulator.accounts import Holding
from marketdata.simulator.exchange import OrderClosed, UnknownOrder
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.orders import Order, Status

_MAX_MODIFICATIONS = 25
_MAX_QUOTES = 1_000
_QUOTES = {"ltp": views.ltp, "ohlc": views.ohlc, "quote": views.quote}
EMPTY_HOLDINGS = "dhan.empty_holdings"
"""What an account without holdings is told: ``error`` (as reported of the real one) or ``list``."""

DATA_PLAN = "dhan.data_plan"
"""What profiles say of the paid plan that the feed needs: ``Active`` or ``Deactive``."""


def profile(call: Call) -> views.Json:
    found = views.profile(call.account, call.sessions.expires_at(call.account))
    return found | {"dataPlan": call.market.variants[DATA_PLAN]}


# --- Orders -----------------------------------------------------------------------------
def place(call: Call) -> views.Json:
    if call.form.get("dhanClientId") != call.account.client_id:
        raise dead_token()
    if call.form.get("afterMarketOrder"):
        raise DhanError("afterMarketOrder is not simulated: the exchange never closes here.")
    symbol = call.catalogue.symbol(call.form.get("exchangeSegment"), call.form.get("securityId"))
    ticket = tickets.new_ticket(call.form, call.instrument(symbol) if symbol else None)
    return _acknowledged(calls.book(call, ticket, errors))


def _acknowledged(order: Order) -> views.Json:
    rejected = order.status is Status.REJECTED
    return {"orderId": order.order_id, "orderStatus": "REJECTED" if rejected else "TRANSIT"}


def modify(call: Call) -> views.Json:
    order = _order(call)
    if order.modifications >= _MAX_MODIFICATIONS:
        raise order_error("Maximum allowed order modifications exceeded")
    asked = tickets.changes(call.form, order, call.instrument(order.ticket.symbol))
    try:
        call.market.exchange.modify(order, **asked)
    except OrderClosed:
        raise _closed(order) from None
    return _acknowledged(order)


def cancel(call: Call) -> web.Response:
    order = _order(call)
    try:
        calls.cancel(call, order)
    except OrderClosed:
        raise _closed(order) from None
    return web.json_response({"orderId": order.order_id, "orderStatus": "CANCELLED"}, status=202)


def _closed(order: Order) -> DhanError:
    return order_error(f"Order is already {views.status(order).lower()} and cannot be changed")


def _order(call: Call) -> Order:
    try:
        return call.market.exchange.order(call.account.client_id, call.path("order_id"))
    except UnknownOrder:
        raise order_error("Order not found") from None


def _shown(call: Call) -> Order:
    try:
        return call.market.shown.order(call.who, call.path("order_id"))
    except UnknownOrder:
        raise order_error("Order not found") from None


def orders(call: Call) -> list[views.Json]:
    return [_row(call, order) for order in call.books().orders]


def order(call: Call) -> views.Json:
    return _row(call, _shown(call))


def order_by_correlation(call: Call) -> views.Json:
    """Return the latest order of a correlation id: nothing keeps a client from using one twice."""
    wanted = call.path("correlation_id")
    found = [order for order in call.books().orders if order.ticket.tag == wanted]
    if not found:
        raise order_error("Order not found")
    return _row(call, found[-1])


def _row(call: Call, order: Order) -> views.Json:
    symbol = order.ticket.symbol
    return views.order(order, call.instrument(symbol), call.security(symbol))


def trades(call: Call) -> list[views.Json]:
    return [trade for order in call.books().orders for trade in _trades(call, order)]


def order_trades(call: Call) -> list[views.Json]:
    return _trades(call, _shown(call))


def _trades(call: Call, order: Order) -> list[views.Json]:
    symbol = order.ticket.symbol
    return list(views.trades(order, call.instrument(symbol), call.security(symbol)))


# --- Portfolio --------------------------------------------------------------------------
def positions(call: Call) -> list[views.Json]:
    held = [p for p in call.books().positions.values() if p.carried or p.bought or p.sold]
    client_id = call.account.client_id
    return [views.position(p, call.instrument(p.symbol), call.security(p.symbol), client_id) for p in held]


def holdings(call: Call) -> list[views.Json]:
    by_symbol: dict[str, list[Holding]] = {}
    for holding in call.books().holdings.values():
        by_symbol.setdefault(holding.symbol, []).append(holding)
    if not by_symbol and call.market.variants[EMPTY_HOLDINGS] == "error":
        raise DhanError("No holdings available", "DH-1111", 500)
    rows = by_symbol.items()
    return [views.holding(held, call.instrument(symbol), call.security(symbol)) for symbol, held in rows]


def funds(call: Call) -> views.Json:
    return views.funds(call.account)


# --- Market -----------------------------------------------------------------------------
def quotes(call: Call) -> dict[str, Any]:
    """Return what was asked for and exists, by segment and id."""
    view = _QUOTES[call.request.path.rsplit("/", 1)[-1]]
    wanted = {segment: ids for segment, ids in call.form.items() if segment != "dhanClientId"}
    _check(wanted)
    found: dict[str, dict[str, views.Json]] = {}
    for segment, ids in wanted.items():
        rows = found.setdefault(segment, {})
        for security_id in map(str, ids):
            if item := _listed(call, segment, security_id):
                rows[security_id] = view(item)
    return {"data": found, "status": "success"}


def _check(wanted: dict[str, Any]) -> None:
    """Raise ``DhanError``, in the shape of the data APIs, for what is no list of ids or too long a one."""
    if not wanted or not all(isinstance(ids, list) for ids in wanted.values()):
        raise DhanError("Invalid Request", "814")
    if sum(len(ids) for ids in wanted.values()) > _MAX_QUOTES:
        raise DhanError("Requested number of instruments exceeds limit", "804")


def _listed(call: Call, segment: str, security_id: str) -> Instrument | None:
    symbol = call.catalogue.symbol(segment, security_id)
    return call.instrument(symbol) if symbol else None


def slicing(_: Call) -> None:
    """Refuse: an exit is one order, and a slice each is an order of its own here."""
    raise invalid("slicing: it is not simulated, send each slice as an order of its own")
