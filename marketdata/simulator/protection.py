"""How far from the last price a protected market order may trade."""

from __future__ import annotations

from decimal import Decimal

from marketdata.domain.prices import to_rupees
from marketdata.simulator.instrument import Instrument

# The exchanges' slabs: (last price up to, per cent of it), the last one above that.
_SLABS = ((100, 2), (500, 1), (None, Decimal("0.5")))
_OPTION_SLABS = ((10, 5), (100, 3), (500, 2), (None, 1))


def market_protection(instrument: Instrument) -> Decimal:
    """Return the automatic band of an order without one of its own, per cent of the last price."""
    is_option = instrument.listing.contract.instrument_type in ("CE", "PE")
    last = to_rupees(instrument.last)
    slabs = _OPTION_SLABS if is_option else _SLABS
    return next(Decimal(percent) for below, percent in slabs if below is None or last <= below)
