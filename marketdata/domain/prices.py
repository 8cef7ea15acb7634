"""Exact prices: integers inside, Decimal at the edges.

A price in memory is a whole number of *units*, ten million to the rupee. That is the
finest step any feed uses (a currency segment's), so every wire price converts without
rounding, prices of two brokers compare directly, and int64 still holds 900 crore rupees.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

UNITS_PER_RUPEE = 10_000_000
_DIGITS = 7
_PAISA = Decimal("0.01")


def to_units(rupees: Decimal) -> int:
    """Return ``rupees`` as units.

    Raises:
        ValueError: Not finite, or finer than one unit: it would have to be rounded.

    """
    if not rupees.is_finite():
        raise ValueError(f"price {rupees} is not a finite number")
    scaled = rupees.scaleb(_DIGITS)
    units = int(scaled)
    if units != scaled:
        raise ValueError(f"price {rupees} is finer than {_DIGITS} decimals")
    return units


def to_rupees(units: int) -> Decimal:
    """Return ``units`` as rupees, exact, with at least two decimals (1500 -> 1500.00)."""
    exact = Decimal(units).scaleb(-_DIGITS)
    paise = exact.quantize(_PAISA)
    return paise if paise == exact else exact.normalize()


def round_down(rupees: Decimal, tick_size: Decimal) -> Decimal:
    """Return the highest valid price not above ``rupees``: how a sell limit is rounded."""
    return (rupees / tick_size).to_integral_value(ROUND_FLOOR) * tick_size


def round_up(rupees: Decimal, tick_size: Decimal) -> Decimal:
    """Return the lowest valid price not below ``rupees``: how a buy limit is rounded."""
    return (rupees / tick_size).to_integral_value(ROUND_CEILING) * tick_size
