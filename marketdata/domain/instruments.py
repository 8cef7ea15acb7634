"""Contracts: what can be watched and traded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

INSTRUMENT_TYPES = ("EQ", "INDEX", "FUT", "CE", "PE")
_DERIVATIVES = frozenset({"NFO", "BFO", "CDS", "BCD", "MCX", "NCO"})


def canonical(exchange: str, tradingsymbol: str) -> str:
    """Return the broker-neutral name ``EXCHANGE:TRADINGSYMBOL``."""
    return f"{exchange}:{tradingsymbol}"


def is_option(symbol: str) -> bool:
    """Tell whether a canonical symbol is an option's: its price may double in a moment."""
    exchange, _, tradingsymbol = symbol.partition(":")
    return exchange in _DERIVATIVES and tradingsymbol.endswith(("CE", "PE"))


def contract_text(instrument_type: str, expiry: date | None, strike: Decimal | None) -> str:
    """Return what tells one contract from another that has had the same name, or the same token."""
    return f"{instrument_type} {expiry or ''} {'' if strike is None else f'{strike.normalize():f}'}".strip()


@dataclass(frozen=True, slots=True)
class Contract:
    """One row of a broker's instrument list, in our terms.

    Attributes:
        token: The broker's own id, as text. Reused after expiry: never an identity.
        tick_size: Rupees.
        strike: Rupees; None unless an option.
        freeze_quantity: Largest quantity of one order; None when the list does not say.

    """

    exchange: str
    tradingsymbol: str
    token: str
    name: str
    instrument_type: str
    lot_size: int
    tick_size: Decimal
    expiry: date | None = None
    strike: Decimal | None = None
    freeze_quantity: int | None = None

    @property
    def symbol(self) -> str:
        return canonical(self.exchange, self.tradingsymbol)
