"""At what price an exit is tried again after its market order did not do."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from marketdata.domain.orders import Quote, Side
from marketdata.domain.prices import round_down, round_up, to_rupees

GIVES_AWAY = (Decimal("0.5"), Decimal(1), Decimal(2), Decimal(3))
"""Per cent of the other side's best price that a limit gives away, by how often the exit rested."""

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit price in rupees. ``is_queued``: at the circuit limit, to wait there for its turn."""

    price: Decimal
    is_queued: bool = False


def limit_for(side: Side, quote: Quote, tick: Decimal, *, rested: int, refused: int) -> Limit:
    """Return the limit of the next try.

    Args:
        side: Of the exit.
        quote: Just asked for, at a price above zero.
        tick: Rupees between two valid prices.
        rested: How many tries did not fill: each gives more away.
        refused: How many were refused for their price: each brings it nearer to the market.

    """
    if is_locked(side, quote):
        return Limit(_valid(side, to_rupees(quote.price), quote, tick), is_queued=True)
    best = quote.bid if side is Side.SELL else quote.ask
    gives = GIVES_AWAY[min(rested, len(GIVES_AWAY) - 1)] / 2**refused
    sign = -1 if side is Side.SELL else 1
    wanted = to_rupees(best or quote.price) * (1 + sign * gives / _HUNDRED)
    return Limit(_valid(side, wanted, quote, tick))


def is_locked(side: Side, quote: Quote) -> bool:
    """Tell whether the price stands at the circuit limit and nobody takes the other side."""
    end, best = _end_of_band(side, quote), quote.bid if side is Side.SELL else quote.ask
    if not end or best:
        return False
    return quote.price <= end if side is Side.SELL else quote.price >= end


def _end_of_band(side: Side, quote: Quote) -> int | None:
    return quote.lower if side is Side.SELL else quote.upper


def _valid(side: Side, wanted: Decimal, quote: Quote, tick: Decimal) -> Decimal:
    """Round towards filling, then stay inside the day's band."""
    rounded = round_down(wanted, tick) if side is Side.SELL else round_up(wanted, tick)
    floor = round_up(to_rupees(quote.lower), tick) if quote.lower else tick
    ceiling = round_down(to_rupees(quote.upper), tick) if quote.upper else rounded
    return max(floor, min(rounded, ceiling))
