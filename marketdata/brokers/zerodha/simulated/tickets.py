"""From an order form to a ticket, with the API's own checks and words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from marketdata.brokers.zerodha.simulated.errors import KiteError, invalid, missing
from marketdata.domain.orders import Side
from marketdata.domain.prices import to_rupees, to_units
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.orders import Kind, Order, Ticket
from marketdata.simulator.protection import market_protection

Form = Mapping[str, str]
UNPROTECTED = (
    "Market orders without market protection are not allowed via API. "
    "Please set market protection or use a limit order."
)
_NOT_LISTED = "The instrument you are placing an order for has either expired or does not exist."
_KINDS = {"MARKET": Kind.MARKET, "LIMIT": Kind.LIMIT, "SL": Kind.STOP_LIMIT, "SL-M": Kind.STOP_MARKET}
_TAG = re.compile(r"[A-Za-z0-9]{0,20}")
_WHOLE = re.compile(r"\d{1,9}")
_SHARES = frozenset({"NSE", "BSE"})


def new_ticket(form: Form, instruments: Mapping[str, Instrument]) -> Ticket:
    """Return what a form asks for.

    Raises:
        KiteError: With the text the API would answer.

    """
    for field in ("exchange", "tradingsymbol", "transaction_type", "quantity", "product", "order_type"):
        if not form.get(field):
            raise missing(field)
    instrument = instruments.get(f"{form['exchange']}:{form['tradingsymbol']}")
    if instrument is None or instrument.listing.is_index:
        raise KiteError(_NOT_LISTED)
    kind = _kind(form["order_type"])
    return Ticket(
        symbol=instrument.symbol,
        side=_side(form["transaction_type"]),
        quantity=_quantity(form["quantity"], instrument),
        product=_product(form["product"], instrument),
        kind=kind,
        price=_price(form, "price", instrument) if kind.has_price else 0,
        trigger=_price(form, "trigger_price", instrument) if kind.has_trigger else 0,
        protection=_protection(form, kind, instrument),
        lives_s=_lives_s(form, instrument),
        tag=_tag(form),
        details=_details(form),
    )


def changes(form: Form, order: Order, instrument: Instrument) -> dict[str, Any]:
    """Return what a modification changes in a ticket; raises ``KiteError``."""
    kind = _kind(form["order_type"]) if form.get("order_type") else order.ticket.kind
    found: dict[str, Any] = {"kind": kind}
    if form.get("quantity"):
        found["quantity"] = _quantity(form["quantity"], instrument)
        if found["quantity"] <= order.filled:
            raise KiteError("Quantity cannot be less than or equal to the filled quantity.")
    if kind.has_price and (form.get("price") or not order.ticket.price):
        found["price"] = _price(form, "price", instrument)
    if kind.has_trigger and (form.get("trigger_price") or not order.ticket.trigger):
        found["trigger"] = _price(form, "trigger_price", instrument)
    if not kind.has_price and (form.get("market_protection") or order.ticket.kind.has_price):
        found["protection"] = _protection(form, kind, instrument)
    return found


def _kind(text: str) -> Kind:
    if text not in _KINDS:
        raise invalid("order_type")
    return _KINDS[text]


def _side(text: str) -> Side:
    if text not in ("BUY", "SELL"):
        raise invalid("transaction_type")
    return Side(text)


def _quantity(text: str, instrument: Instrument) -> int:
    if not _WHOLE.fullmatch(text) or int(text) == 0:
        raise invalid("quantity")
    lot = instrument.listing.contract.lot_size
    if int(text) % lot:
        raise KiteError(f"Quantity should be in multiples of the lot size {lot}.")
    return int(text)


def _product(text: str, instrument: Instrument) -> str:
    shares = instrument.listing.contract.exchange in _SHARES
    if text not in ({"CNC", "MIS", "MTF"} if shares else {"NRML", "MIS"}):
        raise invalid("product")
    return text


def _price(form: Form, field: str, instrument: Instrument) -> int:
    """Return a price in units, inside the day's circuit limits."""
    if not form.get(field):
        raise missing(field)
    try:
        units = to_units(Decimal(form[field]))
    except (ValueError, InvalidOperation):
        raise invalid(field) from None
    if units <= 0:
        raise invalid(field)
    _check_circuit(units, instrument)
    return units


def _check_circuit(units: int, instrument: Instrument) -> None:
    if not instrument.upper or instrument.lower <= units <= instrument.upper:
        return
    word, limit = ("lower", instrument.lower) if units < instrument.lower else ("upper", instrument.upper)
    side = "lower" if word == "lower" else "higher"
    raise KiteError(
        f"Your order price is {side} than the current {word} circuit limit of {to_rupees(limit)}. "
        "Place an order within the daily range."
    )


def _protection(form: Form, kind: Kind, instrument: Instrument) -> Decimal:
    """Return the band in per cent; a market order without one is refused since 1 April 2026."""
    if kind.has_price:
        return Decimal(100)
    try:
        value = Decimal(form.get("market_protection") or "0")
    except InvalidOperation:
        raise invalid("market_protection") from None
    if value == 0:
        raise KiteError(UNPROTECTED)
    if value == -1:
        return market_protection(instrument)
    if not 0 < value <= 100:
        raise invalid("market_protection")
    return value


def _lives_s(form: Form, instrument: Instrument) -> float | None:
    validity = form.get("validity") or "DAY"
    if validity == "DAY":
        return None
    if validity == "IOC" and instrument.listing.contract.exchange != "MCX":
        return 0
    if validity == "TTL" and _WHOLE.fullmatch(form.get("validity_ttl", "")):
        return int(form["validity_ttl"]) * 60
    raise invalid("validity_ttl" if validity == "TTL" else "validity")


def _tag(form: Form) -> str:
    tag = form.get("tag") or ""
    if not _TAG.fullmatch(tag):
        raise KiteError("Invalid `tag`. It should be alphanumeric and at most 20 characters.")
    return tag


def _details(form: Form) -> tuple[tuple[str, str], ...]:
    """Return what the order book shows again and nobody here reads."""
    disclosed = form.get("disclosed_quantity", "")
    return (
        ("validity", form.get("validity") or "DAY"),
        ("validity_ttl", form.get("validity_ttl", "0") if form.get("validity") == "TTL" else "0"),
        ("disclosed_quantity", disclosed if _WHOLE.fullmatch(disclosed) else "0"),
        ("market_protection", form.get("market_protection") or "0"),
    )
