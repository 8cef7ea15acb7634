"""Our name for an order at the broker, by which it is found again."""

from __future__ import annotations

import random
from datetime import date

PREFIX = "TG"
LENGTH = 18  # the shortest limit of the brokers is 20, and one appends to it
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def new_tag(day: date, rng: random.Random) -> str:
    """Return a tag of 18 characters ``A-Z0-9``: prefix, trading day, 12 random ones.

    The day keeps yesterday's orders from being taken for today's; 12 characters of base 36
    make a clash within one day unthinkable, and the database refuses it all the same.
    """
    return PREFIX + _base36(day.toordinal(), 4) + "".join(rng.choice(_ALPHABET) for _ in range(12))


def is_ours(tag: str) -> bool:
    """Tell whether a tag in a broker's book has our shape."""
    return len(tag) == LENGTH and tag.startswith(PREFIX) and all(c in _ALPHABET for c in tag)


def _base36(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits = _ALPHABET[digit] + digits
    return digits
