"""A broker's JSON answers, read schema-strict.

A field that is missing or of another type is an answer we do not understand: ``BadReply``
naming it, never a default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from marketdata.domain.errors import BadReply
from marketdata.domain.orders import Side
from marketdata.domain.prices import to_units

_T = TypeVar("_T")
_FINEST = Decimal("1e-7")


def mapping(reply: Any, name: str) -> Mapping[str, Any]:
    """Return ``reply`` if it is a JSON object."""
    if not isinstance(reply, dict):
        raise BadReply(f"{name}: expected an object, got {type(reply).__name__}")
    return reply


def rows(reply: Any, name: str) -> Sequence[Any]:
    """Return ``reply`` if it is a JSON list."""
    if not isinstance(reply, list):
        raise BadReply(f"{name}: expected a list, got {type(reply).__name__}")
    return reply


def field(row: Any, name: str, kind: type[_T]) -> _T:
    """Return a field that is exactly of ``kind``: a bool is no quantity, and null is nothing at all."""
    value = mapping(row, f"row with {name}").get(name)
    if type(value) is not kind:
        raise BadReply(f"{name}: expected {kind.__name__}, got {value!r}")
    return value


def text(row: Any, name: str) -> str:
    """Return a text that is not empty."""
    if not (value := field(row, name, str)):
        raise BadReply(f"{name} is empty")
    return value


def optional_text(row: Any, name: str) -> str:
    """Return a text; a missing one and null are empty."""
    return "" if row.get(name) is None else field(row, name, str)


def side(row: Any, name: str) -> Side:
    """Return BUY or SELL."""
    value = text(row, name)
    try:
        return Side(value)
    except ValueError:
        raise BadReply(f"{name}: expected BUY or SELL, got {value!r}") from None


def price(row: Any, name: str) -> Decimal:
    """Return rupees, exact to seven decimals."""
    # The SDKs' JSON readers make floats. `str` gives back the shortest text of that float, which
    # is the broker's own text for up to 15 digits; the finest price has 7 decimals. An average
    # price may have more: it is rounded there, and nothing is ever traded at it.
    value: Any = mapping(row, f"row with {name}").get(name)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise BadReply(f"{name}: expected a number, got {value!r}")
    try:
        return Decimal(str(value)).quantize(_FINEST)
    except InvalidOperation:
        raise BadReply(f"{name}: {value!r} is no price") from None


def optional_units(row: Any, name: str) -> int | None:
    """Return a price in units; None when it is zero, or not told in a way we understand."""
    with suppress(BadReply):  # what stands beside the price helps; the price must not be lost with it
        return to_units(price(row, name)) or None
    return None


def best(row: Any, book_side: str) -> int | None:
    """Return the best price in units of one side of ``depth``.

    0: nobody is there. None: it is not told, or not in a way we understand.
    """
    with suppress(BadReply):
        lines = field(field(row, "depth", dict), book_side, list)
        taken = [to_units(price(line, "price")) for line in lines if field(line, "quantity", int) > 0]
        return max(taken[0], 0) if taken else 0
    return None
