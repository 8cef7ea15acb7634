"""What any broker can be asked, and what it answers, in our terms.

Ours and theirs never share a name: a *tag* is ours and travels with the order, an
*order id* is the broker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class OrderStatus(StrEnum):
    """Where an order is in its life. Anything a broker says that is not listed is LIVE."""

    LIVE = "live"
    FILLED = "filled"
    CANCELLED = "cancelled"  # look at the filled quantity: it may be above zero
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        return self is not OrderStatus.LIVE


class Outcome(StrEnum):
    """How one write ended, judged by where it failed; anything not listed is UNKNOWN."""

    NOT_SENT = "not_sent"  # no byte left this machine
    ACKED = "acked"  # a schema-valid success with an order id: accepted, not filled
    REJECTED = "rejected"  # a schema-valid error the broker documents as definite
    UNKNOWN = "unknown"  # may be live at the broker: look before anything else


class RejectClass(StrEnum):
    """What a definite reject calls for."""

    FIX = "fix"  # price band, tick, freeze quantity, protection value: mend and try again
    WAIT = "wait"  # a rate limit the broker documents: refused at the door
    HUMAN = "human"  # token, IP, authorisation, margin, ban, halt, and any text we do not know


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """One order to be placed.

    Attributes:
        tag: Ours, at most 18 characters of ``A-Z0-9``; how the order is found again.
        symbol: Canonical ``EXCHANGE:TRADINGSYMBOL``.
        quantity: Units of the instrument, above zero.
        product: ``MIS CNC NRML MTF``.
        limit_price: Rupees, or None for the broker's protected market order.

    """

    tag: str
    symbol: str
    side: Side
    quantity: int
    product: str
    limit_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The outcome of one place or cancel request."""

    outcome: Outcome
    order_id: str = ""
    message: str = ""  # the broker's own words, or what failed
    reject_class: RejectClass | None = None  # only with REJECTED


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """One order as the broker's book shows it.

    Attributes:
        tag: Ours, empty for orders of others.
        status_text: The broker's own status word.
        average_price: Rupees; None before the first fill.

    """

    order_id: str
    tag: str
    symbol: str
    side: Side
    product: str
    quantity: int
    filled_quantity: int
    status: OrderStatus
    status_text: str
    average_price: Decimal | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class PositionSnapshot:
    """One open or closed position: ``quantity`` is signed, short below zero.

    Attributes:
        symbol: Canonical. Empty means "held, but we cannot say what": a row of the broker whose
            instrument is not in our list. Whoever reads one must not take anything for flat.
        from_holdings: Shares of the demat account are counted in. They can be sold on every
            exchange that lists the share, so the same shares stand here once under each.

    """

    symbol: str
    product: str
    quantity: int
    from_holdings: bool = False


@dataclass(frozen=True, slots=True)
class Quote:
    """A price asked for, not pushed. Prices in units; ``exchange_time`` in UNIX seconds."""

    symbol: str
    price: int
    exchange_time: int | None = None
    day_low: int | None = None
    day_high: int | None = None
