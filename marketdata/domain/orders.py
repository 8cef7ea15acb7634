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


class RejectReason(StrEnum):
    """What is wrong with a refused order, as far as the broker's own text tells."""

    LOGIN = "login"  # the access token
    IP = "ip"  # the address the request came from
    MARGIN = "margin"
    AUTHORISATION = "authorisation"  # the sale is not authorised at the depository
    HOLDINGS = "holdings"  # the shares are not there, or not delivered yet
    BAND = "band"  # price outside the day's limits or the protection range, whichever the text names
    FREEZE = "freeze"  # more than the exchange takes in one order
    TICK = "tick"
    LOT = "lot"
    NO_MARKET = "no_market"  # no market order is taken here: a limit made of bid and ask may be
    BAN = "ban"  # banned, suspended, halted, trade-to-trade
    RATE = "rate"  # too many requests within a second or a minute
    DAY_LIMIT = "day_limit"  # no more orders today
    OTHER = "other"  # a text we do not know

    @property
    def reject_class(self) -> RejectClass:
        """What to do about it."""
        return _CLASSES.get(self, RejectClass.HUMAN)


_CLASSES = {
    RejectReason.RATE: RejectClass.WAIT,
    RejectReason.BAND: RejectClass.FIX,
    RejectReason.FREEZE: RejectClass.FIX,
    RejectReason.TICK: RejectClass.FIX,
    RejectReason.LOT: RejectClass.FIX,
    RejectReason.NO_MARKET: RejectClass.FIX,
}


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """How many order requests a broker takes from one account; refused ones count too.

    ``per_hour`` is None where a broker has no limit of that kind.
    """

    per_second: int
    per_minute: int
    per_day: int
    per_hour: int | None = None


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


def storable(text: str) -> str:
    """Return ``text`` without what a database refuses: NUL, and halves of characters that JSON can hold."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The outcome of one place or cancel request."""

    outcome: Outcome
    order_id: str = ""
    message: str = ""  # the broker's own words, or what failed
    reject_class: RejectClass | None = None  # only with REJECTED
    reject_reason: RejectReason | None = None  # only with REJECTED

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", storable(self.message))


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """One order as the broker's book shows it.

    Attributes:
        tag: Ours, empty for orders of others.
        status_text: The broker's own status word.
        average_price: Rupees; None before the first fill.
        message: The broker's own words.
        reject_reason: What ``message`` says of a REJECTED order. Of a CANCELLED one only ``BAND``:
            the exchange took it out because of its price.

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
    reject_reason: RejectReason | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", storable(self.message))

    @property
    def reject_class(self) -> RejectClass | None:
        """What to do about a refusal; None without one."""
        return self.reject_reason.reject_class if self.reject_reason else None


@dataclass(frozen=True, slots=True)
class TradeSnapshot:
    """One fill of today. ``price`` in rupees; an order may have several."""

    order_id: str
    symbol: str
    side: Side
    product: str
    quantity: int
    price: Decimal


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
    """A price asked for, not pushed. Prices in units; None: not told.

    Attributes:
        exchange_time: UNIX seconds.
        bid: Best price somebody buys at; 0: nobody there.
        ask: Best price somebody sells at; 0: nobody there.
        lower: Lowest price of the day that the exchange takes.
        upper: Highest price of the day that the exchange takes.
        close: The last session's closing price, in today's scale.

    """

    symbol: str
    price: int
    exchange_time: int | None = None
    day_low: int | None = None
    day_high: int | None = None
    bid: int | None = None
    ask: int | None = None
    lower: int | None = None
    upper: int | None = None
    close: int | None = None
