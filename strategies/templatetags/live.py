"""How templates write prices and sides."""

from __future__ import annotations

import re

from django import template

register = template.Library()
_LAKHS = re.compile(r"(\d)(?=(\d\d)+\d(?!\d))")
_SIDES = {"BOUGHT": "Long", "SOLD": "Short", "NONE": "No position"}


@register.filter
def inr(price: str | None, places: int | str = 2) -> str:
    """Group a price as India does, with at least ``places`` decimals: ``12,34,567.50``."""
    if not price:
        return "–"
    whole, _, fraction = price.partition(".")
    grouped = _LAKHS.sub(r"\1,", whole)
    return f"{grouped}.{fraction.ljust(int(places or 2), '0')}"


@register.filter
def side(position: str) -> str:
    """Return a position in the trader's word."""
    return _SIDES.get(position, "")
