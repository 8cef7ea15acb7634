"""What commands are told, checked."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from marketdata.domain.prices import to_units


class BadCommand(ValueError):
    """A command that makes no sense; the text says why."""


def units(price: object) -> int:
    """Return a price text in units.

    Raises:
        BadCommand: Not a decimal number, or finer than the exchange counts.

    """
    text = "" if isinstance(price, float) else str(price)  # a float has lost its last digits
    try:
        return to_units(Decimal(text))
    except (InvalidOperation, ValueError):
        raise BadCommand(
            f"price {price!r} is not a decimal number: write rupees as a text, like '1499.95'"
        ) from None
