"""From an order's JSON to a ticket, with the API's own checks and words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from marketdata.brokers.dhan.simulated.errors import DhanError, invalid, missing, order_error
from marketdata.domain.orders import Side
from marketdata.domain.prices import to_rupees, to_units
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.orders import Kind, Order, Ticket
from marketdata.simulator.protection import market_protection

Form = Mapping[str, Any]
NOT_HELD = "Trigger Price should be greater than Price"
_REQUIRED = (
    "transactionType", "exchangeSegment", "productType", "orderType", "validity", "securityId", "quantity",
)  # fmt: skip
_KINDS = {"MARKET": Kind.MARKET, "LIMIT": Kind.LIMIT, "STOP_LOSS": Kind.STOP_LIMIT}
PRODUCTS = {"INTRADAY": "MIS", "CNC": "CNC", "MARGIN": "NRML", "MTF": "MTF"}
"""Dhan's products, and what the exchange's accounts call them."""

_SHARES = frozenset({"NSE", "BSE"})
_CORRELATION = re.compile(r"[A-Za-z0-9 _-]{0,30}")


def new_ticket(form: Form, instrument: Instrument | None) -> Ticket:
    """Return what a form asks for.

    Raises:
        DhanError: With the text the API would answer.

    """
    for field in _REQUIRED:
        if form.get(field) in (None, ""):
            raise missing(field)
    if instrument is None or instrument.listing.is_index:
        raise DhanError("Invalid SecurityId or ExchangeSegment")
    kind = _kind(form)
    return Ticket(
        symbol=instrument.symbol,
        side=_side(form),
        quantity=_quantity(form, instrument),
        product=_product(form, instrument),
        kind=kind,
        price=_price(form, "price", instrument) if kind.has_price else 0,
        trigger=_trigger(form, instrument) if kind.has_trigger else 0,
        protection=market_protection(instrument) if kind is Kind.MARKET else Decimal(100),
        lives_s=_lives_s(form),
        tag=_correlation(form),
        details=(("validity", form["validity"]), ("disclosed", str(_disclosed(form)))),
    )


def changes(form: Form, order: Order, instrument: Instrument) -> dict[str, Any]:
    """Return what a modification changes in a ticket; raises ``DhanError``."""
    kind = _kind(form) if form.get("orderType") else order.ticket.kind
    found: dict[str, Any] = {"kind": kind}
    if form.get("quantity"):
        found["quantity"] = _quantity(form, instrument)  # of the whole order, not of what is left
        if found["quantity"] <= order.filled:
            raise order_error("Quantity cannot be less than or equal to the traded quantity")
    if kind.has_price and (form.get("price") or not order.ticket.price):
        found["price"] = _price(form, "price", instrument)
    if kind.has_trigger and (form.get("triggerPrice") or not order.ticket.trigger):
        found["trigger"] = _trigger(form, instrument)
    if kind is Kind.MARKET:
        found["protection"] = market_protection(instrument)
    return found


def _kind(form: Form) -> Kind:
    if form["orderType"] == "STOP_LOSS_MARKET":
        raise order_error(NOT_HELD)
    if form["orderType"] not in _KINDS:
        raise invalid("orderType")
    return _KINDS[form["orderType"]]


def _side(form: Form) -> Side:
    if form["transactionType"] not in ("BUY", "SELL"):
        raise invalid("transactionType")
    return Side(form["transactionType"])


def _quantity(form: Form, instrument: Instrument) -> int:
    quantity = form["quantity"]
    if type(quantity) is str and quantity.isdecimal():  # documented as a number, accepted as a text
        quantity = int(quantity)
    if type(quantity) is not int or quantity <= 0:
        raise invalid("quantity")
    lot = instrument.listing.contract.lot_size
    if quantity % lot:
        raise DhanError(f"Invalid Quantity: should be in multiple of lot size {lot}")
    return quantity


def _product(form: Form, instrument: Instrument) -> str:
    shares = instrument.listing.contract.exchange in _SHARES
    if form["productType"] not in ({"CNC", "INTRADAY", "MTF"} if shares else {"MARGIN", "INTRADAY"}):
        raise invalid("productType")
    return PRODUCTS[form["productType"]]


def _price(form: Form, field: str, instrument: Instrument) -> int:
    """Return a price in units, inside the day's circuit limits."""
    try:
        units = to_units(Decimal(form.get(field) or 0))
    except (ValueError, TypeError, InvalidOperation):
        raise invalid(field) from None
    if units <= 0:
        raise invalid(field)
    if instrument.upper and not instrument.lower <= units <= instrument.upper:
        raise order_error(
            f"Price is out of the day's circuit limits {to_rupees(instrument.lower)} to "
            f"{to_rupees(instrument.upper)}"
        )
    return units


def _trigger(form: Form, instrument: Instrument) -> int:
    """Return the trigger of a stop order: for a sale not below its price, for a purchase not above."""
    trigger = _price(form, "triggerPrice", instrument)
    if form.get("transactionType") and form.get("price"):
        price = _price(form, "price", instrument)
        if trigger < price if form["transactionType"] == "SELL" else trigger > price:
            raise order_error("Trigger Price should be between the last price and Price")
    return trigger


def _lives_s(form: Form) -> float | None:
    if form["validity"] not in ("DAY", "IOC"):
        raise invalid("validity")
    return None if form["validity"] == "DAY" else 0


def _disclosed(form: Form) -> int:
    disclosed = form.get("disclosedQuantity") or 0
    if type(disclosed) is not int or disclosed < 0:
        raise invalid("disclosedQuantity")
    if disclosed and disclosed * 10 <= form["quantity"] * 3:
        raise DhanError("Disclosed quantity should be more than 30% of quantity")
    return disclosed


def _correlation(form: Form) -> str:
    tag = form.get("correlationId") or ""
    if not isinstance(tag, str) or not _CORRELATION.fullmatch(tag):
        raise invalid("correlationId")
    return tag
