"""Orders as the exchange sees them, without any broker's words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from marketdata.domain.orders import Side


class Status(StrEnum):
    RECEIVED = "received"
    WAITING = "waiting"  # a stop order whose trigger was not touched
    OPEN = "open"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        return self in (Status.COMPLETE, Status.CANCELLED, Status.REJECTED)


class Kind(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP_LIMIT = "stop limit"
    STOP_MARKET = "stop market"

    @property
    def has_trigger(self) -> bool:
        return self in (Kind.STOP_LIMIT, Kind.STOP_MARKET)

    @property
    def has_price(self) -> bool:
        return self in (Kind.LIMIT, Kind.STOP_LIMIT)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What was asked for. Prices in units.

    Attributes:
        protection: Share of the last price, in per cent, that a market order may give away;
            what does not fill within it rests as a limit order at that price.
        lives_s: Seconds until the order is cancelled; None: the day. 0: fill now or never.
        details: What the broker's surface wants to see again, unread here.

    """

    symbol: str
    side: Side
    quantity: int
    product: str
    kind: Kind
    price: int = 0
    trigger: int = 0
    protection: Decimal = Decimal(100)
    lives_s: float | None = None
    tag: str = ""
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Fill:
    trade_id: int
    quantity: int
    price: int
    at: float


@dataclass(frozen=True, slots=True)
class Stage:
    """One line of an order's history."""

    status: Status
    at: float
    filled: int
    message: str = ""


@dataclass(slots=True)
class Whims:
    """What faults do to one order.

    Attributes:
        fills_at_most: Units it may fill before it rests; None: all of them.
        fate: Message with which it is going to be rejected; empty: it is not.
        ending: Message with which the exchange cancels what does not fill at once; empty: it does not.
        sent_tag: The tag that came with it; None: the one the ticket has.
        hidden_until: Monotonic seconds; no book shows it before.
        word: Status word that books show instead of its own; empty: its own.

    """

    fills_at_most: int | None = None
    fate: str = ""
    ending: str = ""
    sent_tag: str | None = None
    hidden_until: float = 0.0
    word: str = ""


@dataclass(slots=True)
class Order:
    """One order of one account.

    Attributes:
        limit: Price it works at, in units; 0 until a market or stop order reached the book.
        whims: What faults do to it.
        cancelled_by: ``client`` (through its API), ``platform`` (another one of the client's),
            ``exchange``; empty when it was not cancelled.

    """

    order_id: str
    account: str
    ticket: Ticket
    received_at: float
    updated_at: float
    status: Status = Status.RECEIVED
    limit: int = 0
    message: str = ""
    whims: Whims = field(default_factory=Whims)
    cancelled_by: str = ""
    modifications: int = 0
    accepted_at: float | None = None
    fills: list[Fill] = field(default_factory=list)
    history: list[Stage] = field(default_factory=list)

    @property
    def filled(self) -> int:
        return sum(fill.quantity for fill in self.fills)

    @property
    def pending(self) -> int:
        return 0 if self.status.is_final else self.ticket.quantity - self.filled

    @property
    def fillable(self) -> int:
        """Units that may fill now: what is pending, unless a fault allows less."""
        if self.whims.fills_at_most is None:
            return self.pending
        return max(0, min(self.pending, self.whims.fills_at_most - self.filled))

    @property
    def tag(self) -> str:
        """The tag that came with it, whatever books show."""
        return self.ticket.tag if self.whims.sent_tag is None else self.whims.sent_tag

    @property
    def average(self) -> Decimal:
        """Average fill price in units; zero before the first fill."""
        value = sum(fill.quantity * fill.price for fill in self.fills)
        return Decimal(value) / self.filled if value else Decimal(0)

    @property
    def is_sell(self) -> bool:
        return self.ticket.side is Side.SELL

    def move(self, status: Status, at: float, message: str = "") -> None:
        """Enter ``status`` and remember when."""
        self.status, self.updated_at, self.message = status, at, message or self.message
        self.history.append(Stage(status, at, self.filled, message))

    def amend(self, at: float, **changes: object) -> None:
        """Replace parts of the ticket; ``limit`` is found again when it is matched."""
        self.ticket = replace(self.ticket, **changes)  # type: ignore[arg-type]  # checked by the surface
        self.limit, self.updated_at = 0, at
        self.modifications += 1
