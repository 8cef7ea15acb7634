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
class Order:
    """One order of one account.

    Attributes:
        limit: Price it works at, in units; 0 until a market or stop order reached the book.
        held: A fault keeps it from filling.
        fate: Message with which it is going to be rejected; empty: treated normally.

    """

    order_id: str
    account: str
    ticket: Ticket
    received_at: float
    updated_at: float
    status: Status = Status.RECEIVED
    limit: int = 0
    message: str = ""
    held: bool = False
    fate: str = ""
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
