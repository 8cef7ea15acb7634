"""Which prices an instrument can have today, as far as anybody has told.

A band is what a quote said it is. It only ever raises a question: the exchange widens bands
during the day, so what a quote contradicts, or nobody can confirm in time, does not count.
"""

from __future__ import annotations

from typing import NamedTuple

from marketdata.domain.instruments import is_option
from marketdata.domain.orders import Quote

HIGHEST = 1 << 62
"""A price that none is above."""


class Band(NamedTuple):
    """The prices that are possible, both ends included. Units."""

    lower: int = 1
    upper: int = HIGHEST

    def __contains__(self, price: object) -> bool:
        return isinstance(price, int) and self.lower <= price <= self.upper


ANY = Band()
"""Every price above zero."""


def band_of(quote: Quote, known: Band = ANY) -> Band:
    """Return the band after a quote.

    The limits it tells; none when its own price is outside them. Where it tells none, what was
    ``known`` while the price keeps to that, else half to twice its price: nothing but an option
    moves further in a day without being asked about.
    """
    if quote.price <= 0:
        return known
    if quote.lower and quote.upper:
        told = Band(quote.lower, quote.upper)
        return told if quote.price in told else ANY
    if known is not ANY and quote.price in known:
        return known
    return ANY if is_option(quote.symbol) else Band(max(quote.price // 2, 1), quote.price * 2)
