"""How far from the last price an order may trade."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from marketdata.domain.orders import Side
from marketdata.domain.prices import UNITS_PER_RUPEE, to_rupees
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.orders import Kind, Ticket

# The exchanges' slabs: (last price up to, per cent of it), the last one above that.
_SLABS = ((100, 2), (500, 1), (None, Decimal("0.5")))
_OPTION_SLABS = ((10, 5), (100, 3), (500, 2), (None, 1))


def market_protection(instrument: Instrument) -> Decimal:
    """Return the automatic band of an order without one of its own, per cent of the last price."""
    is_option = instrument.listing.contract.instrument_type in ("CE", "PE")
    last = to_rupees(instrument.last)
    slabs = _OPTION_SLABS if is_option else _SLABS
    return next(Decimal(percent) for below, percent in slabs if below is None or last <= below)


def worst_price(ticket: Ticket, instrument: Instrument) -> int:
    """Return the worst price an order may trade at: its own, or the end of its protection band.

    Args:
        ticket: A market order or one with a price; a trigger is behind it.
        instrument: What it trades.

    """
    if ticket.kind is Kind.LIMIT:
        return ticket.price
    share = instrument.last * ticket.protection / 100
    sells = ticket.side is Side.SELL
    edge = Decimal(instrument.last) + (-share if sells else share)
    tick = instrument.listing.tick
    # Rounded towards the last price: a protected order never gives away more than was allowed.
    steps = (edge / tick).to_integral_value(ROUND_CEILING if sells else ROUND_FLOOR)
    return instrument.inside_band(max(tick, int(steps) * tick))


@dataclass(frozen=True, slots=True)
class PriceRange:
    """The exchanges' range for limit prices, around the last price.

    Attributes:
        percent: Of the last price, where that is above ``below_rupees``.
        rupees: To either side, at prices up to ``below_rupees``.

    """

    percent: Decimal = Decimal(40)
    rupees: Decimal = Decimal(20)
    below_rupees: int = 50

    def takes(self, ticket: Ticket, instrument: Instrument) -> bool:
        """Tell whether the exchange takes an order at its price."""
        if not ticket.kind.has_price:
            return True
        small = instrument.last <= self.below_rupees * UNITS_PER_RUPEE
        width = self.rupees * UNITS_PER_RUPEE if small else instrument.last * self.percent / 100
        return abs(ticket.price - instrument.last) <= width
