"""How templates write prices and sides."""

from __future__ import annotations

import re

from django import template
from django.template import Context
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
_LAKHS = re.compile(r"(\d)(?=(\d\d)+\d(?!\d))")
_SIDES = {"BOUGHT": "Long", "SOLD": "Short", "NONE": "No position"}

_LOOKS = {"theme": ("auto", "light", "dark"), "colours": ("safe", "classic")}


@register.simple_tag(takes_context=True)
def look(context: Context) -> SafeString:
    """Return attributes that say how a person wants pages to look, as ``settings.js`` put it into cookies."""
    request = context.get("request")
    cookies = {} if request is None else request.COOKIES
    chosen = {name: cookies.get(name) for name in _LOOKS}
    known = {name: chosen[name] if chosen[name] in values else values[0] for name, values in _LOOKS.items()}
    return mark_safe("".join(f' data-{name}="{value}"' for name, value in known.items()))  # noqa: S308 - our own words


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
