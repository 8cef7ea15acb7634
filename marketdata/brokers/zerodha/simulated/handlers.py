"""What each endpoint does, from a call to its data."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from aiohttp import web

from marketdata.brokers.zerodha.simulated import errors, tickets, views
from marketdata.brokers.zerodha.simulated.calls import Call
from marketdata.brokers.zerodha.simulated.errors import KiteError, dead_token, missing
from marketdata.simulator import calls
from marketdata.simulator.accounts import Account
from marketdata.simulator.exchange import OrderClosed, UnknownOrder
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.orders import Order
from marketdata.simulator.values import moment

_EXCHANGES = ["NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX", "MF"]
_MAX_MODIFICATIONS = 25
_MAX_QUOTES = {"quote": 500, "ohlc": 1_000, "ltp": 1_000}
_VIEWS = {"quote": views.quote, "ohlc": views.ohlc, "ltp": views.ltp}


# --- Session ----------------------------------------------------------------------------
def open_session(call: Call) -> dict[str, Any]:
    """Exchange a request token for an access token; the one before is dead."""
    for field in ("api_key", "request_token", "checksum"):
        if not call.form.get(field):
            raise missing(field)
    accounts = call.market.exchange.accounts
    key, request_token = call.form["api_key"], call.form["request_token"]
    account = next((a for a in accounts if a.api_key == key and request_token in a.request_tokens), None)
    if account is None:
        raise KiteError("Token is invalid or has expired.", "TokenException", 403)
    expected = hashlib.sha256((key + request_token + account.api_secret).encode()).hexdigest()
    if not hmac.compare_digest(expected.encode(), call.form["checksum"].encode()):
        raise KiteError("Invalid `checksum`.", "TokenException", 403)
    account.request_tokens.discard(request_token)
    return _session(call, account, accounts.mint(account.client_id))


def _session(call: Call, account: Account, token: str) -> dict[str, Any]:
    return _profile(account) | {
        "api_key": account.api_key,
        "access_token": token,
        "public_token": token[:16],
        "enctoken": "",
        "refresh_token": "",
        "silo": "",
        "login_time": moment(call.market.clock.time()),
    }


def close_session(call: Call) -> bool:
    accounts = call.market.exchange.accounts
    query = call.request.query
    account = accounts.authenticated(query.get("api_key", ""), query.get("access_token", ""))
    if account is None:
        raise dead_token()
    accounts.kill(account.client_id)
    return True


def login(call: Call) -> web.Response:
    """Log the person in without asking, and send the browser back with a request token."""
    accounts = call.market.exchange.accounts
    account = accounts.by_api_key(call.request.query.get("api_key", ""))
    if account is None:
        raise KiteError("Invalid `api_key`.")
    target = account.redirect_url or "http://127.0.0.1:8000/brokers/zerodha/callback/"
    joint = "&" if "?" in target else "?"
    query = (
        f"action=login&type=login&status=success&request_token={accounts.request_token(account.client_id)}"
    )
    extra = call.request.query.get("redirect_params", "")
    location = f"{target}{joint}{query}{'&' + extra if extra else ''}"
    return web.Response(status=302, headers={"Location": location})


def profile(call: Call) -> dict[str, Any]:
    return _profile(call.account)


def _profile(account: Account) -> dict[str, Any]:
    return {
        "user_id": account.client_id,
        "user_type": "individual",
        "email": f"{account.client_id.lower()}@example.invalid",
        "user_name": account.client_id,
        "user_shortname": account.client_id,
        "broker": "ZERODHA",
        "exchanges": _EXCHANGES,
        "products": ["CNC", "NRML", "MIS", "BO", "CO"],
        "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
        "avatar_url": None,
        "meta": {"demat_consent": "physical"},
    }


# --- Orders -----------------------------------------------------------------------------
def place(call: Call) -> dict[str, str]:
    if call.path("variety") != "regular":
        raise KiteError(f"Invalid `variety`: {call.path('variety')!r} is not simulated, only 'regular'.")
    if call.form.get("autoslice", "false") == "true":
        raise KiteError("`autoslice` is not simulated: send each slice as an order of its own.")
    ticket = tickets.new_ticket(call.form, call.market.exchange.instruments)
    return {"order_id": calls.book(call, ticket, errors).order_id}


def modify(call: Call) -> dict[str, str]:
    order = _order(call)
    if order.modifications >= _MAX_MODIFICATIONS:
        raise KiteError("Maximum allowed order modifications exceeded.", "OrderException")
    asked = tickets.changes(call.form, order, call.instrument(order.ticket.symbol))
    try:
        call.market.exchange.modify(order, **asked)
    except OrderClosed:
        raise _closed("modified") from None
    return {"order_id": order.order_id}


def cancel(call: Call) -> dict[str, str]:
    order = _order(call)
    try:
        calls.cancel(call, order)
    except OrderClosed:
        raise _closed("cancelled") from None
    return {"order_id": order.order_id}


def _closed(verb: str) -> KiteError:
    return KiteError(f"Order cannot be {verb} as it is being processed. Try later.", "OrderException")


def _order(call: Call) -> Order:
    try:
        return call.market.exchange.order(call.account.client_id, call.path("order_id"))
    except UnknownOrder:
        raise _not_found() from None


def _shown(call: Call) -> Order:
    try:
        return call.market.shown.order(call.who, call.path("order_id"))
    except UnknownOrder:
        raise _not_found() from None


def _not_found() -> KiteError:
    return KiteError("Couldn't find that `order_id`.", "OrderException")


def orders(call: Call) -> list[views.Json]:
    return [views.order(o, call.token(o.ticket.symbol)) for o in call.books().orders]


def order_history(call: Call) -> list[views.Json]:
    order = _shown(call)
    return views.history(order, call.token(order.ticket.symbol))


def trades(call: Call) -> list[views.Json]:
    return [trade for o in call.books().orders for trade in views.trades(o, call.token(o.ticket.symbol))]


def order_trades(call: Call) -> list[views.Json]:
    order = _shown(call)
    return list(views.trades(order, call.token(order.ticket.symbol)))


# --- Portfolio --------------------------------------------------------------------------
def positions(call: Call) -> dict[str, list[views.Json]]:
    held = [p for p in call.books().positions.values() if p.carried or p.bought or p.sold]
    rows = [(p, call.instrument(p.symbol), call.token(p.symbol)) for p in held]
    return {
        "net": [views.position(*row) for row in rows],
        "day": [views.position(*row, day=True) for row in rows if row[0].bought or row[0].sold],
    }


def holdings(call: Call) -> list[views.Json]:
    held = call.books().holdings
    symbols = dict.fromkeys(symbol for symbol, _ in held)
    return [
        views.holding(held.get((s, "CNC")), held.get((s, "MTF")), call.instrument(s), call.token(s))
        for s in symbols
    ]


# --- Market -----------------------------------------------------------------------------
def instruments(call: Call) -> web.Response:
    exchange = call.request.match_info.get("exchange", "")
    if exchange and exchange not in call.catalogue.exchanges():
        raise KiteError("Invalid `exchange`.")
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/csv"}
    return web.Response(body=call.catalogue.dump(exchange), headers=headers)


def quotes(call: Call) -> dict[str, views.Json]:
    """Return what was asked for and exists; unknown keys are left out, as in the real one."""
    kind = call.request.path.rsplit("/", 1)[-1]
    wanted = list(dict.fromkeys(call.request.query.getall("i", [])))
    if not wanted:
        raise missing("i")
    if len(wanted) > _MAX_QUOTES[kind]:
        raise KiteError(f"Maximum of {_MAX_QUOTES[kind]} instruments allowed.")
    found = [_by_name(call, name) for name in wanted]
    return {
        name: _VIEWS[kind](item, call.token(item.symbol))
        for name, item in zip(wanted, found, strict=True)
        if item
    }


def _by_name(call: Call, name: str) -> Instrument | None:
    """Return an instrument by ``EXCHANGE:SYMBOL`` or by token."""
    symbol = call.catalogue.symbol_by_token.get(int(name), "") if name.isdigit() else name
    return call.market.exchange.instruments.get(symbol)
