"""An exit and its orders as the journal has them, and what its worker remembers beside them.

The record is durable. The memory is not: it only holds up a decision (how often an order was
not found, since when nothing could be read), so losing it can delay, never permit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from marketdata.domain.orders import OrderRequest, RejectClass, RejectReason, Side, WriteResult
from strategies.domain.exits import ExitState, OrderState


@dataclass(frozen=True, slots=True)
class Moment:
    """When something happened.

    Attributes:
        time: UNIX seconds, for what is kept.
        elapsed: Monotonic seconds, for how long something has lasted.
        today: The trading day.

    """

    time: float
    elapsed: float
    today: date


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One attempt: one request, sent at most once. Times are UNIX seconds.

    Attributes:
        tag: Ours; what an order is known by.
        slice_no: Which part of the exit it is for.
        try_no: Which attempt at that part.
        price: Limit in rupees; None: the broker's protected market order.
        is_queued: Placed at the circuit limit, to wait there for the other side.
        opening: The position when it was planned, less the day's fills in the broker's book.
            Whatever fills without the book's knowledge changes it.
        lookalikes: Orders without a tag that looked like it in the book when it was planned.
        changed_at: When its state or its fill last changed.
        cancels: Requests of ours to cancel it.

    """

    tag: str
    state: OrderState
    side: Side
    product: str
    quantity: int
    day: date
    planned_at: float
    slice_no: int = 1
    try_no: int = 1
    price: Decimal | None = None
    is_queued: bool = False
    opening: int | None = None
    lookalikes: int = 0
    filled: int = 0
    average_price: Decimal | None = None
    changed_at: float = 0.0
    sent_at: float | None = None
    cancels: int = 0
    cancel_asked_at: float | None = None
    broker_order_id: str = ""
    reject_class: RejectClass | None = None
    reject_reason: RejectReason | None = None
    message: str = ""

    @property
    def is_open(self) -> bool:
        return not self.state.is_final

    @property
    def has_unknown_fate(self) -> bool:
        return self.state in (OrderState.SENDING, OrderState.UNKNOWN)

    @property
    def exposure(self) -> int:
        """Return how much it has filled or may yet fill: while its fate is open, all of it."""
        return self.filled if self.state.is_final else max(self.quantity, self.filled)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the contract and the account say on how to exit.

    Attributes:
        tick_size: Rupees between two valid prices.
        freeze_quantity: Largest quantity the exchange takes in one order; None: no such limit.
        is_listed: Whether the broker's instrument list still has the symbol.
        may_resend: Whether the account allows another order after one that surely got lost.

    """

    tick_size: Decimal = Decimal("0.05")
    lot_size: int = 1
    freeze_quantity: int | None = None
    is_listed: bool = True
    may_resend: bool = True

    @property
    def largest_order(self) -> int | None:
        """Return the largest whole number of lots that one order may have."""
        if not self.freeze_quantity:
            return None
        return max(self.freeze_quantity // self.lot_size, 1) * self.lot_size


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """One exit with its attempts, oldest first.

    Attributes:
        day: The trading day on which it was triggered.
        version: Raised by every commit: who commits from an old one loses.
        loss_rate: Rupees lost for each per cent the price moves on; the largest exits first.
        resumed_at: When a person last asked to try again (UNIX seconds).
        resumed_after: How many orders there were then: they count for nothing any more.

    """

    id: int
    state: ExitState
    quantity: int
    symbol: str
    product: str
    is_long: bool
    day: date
    version: int = 0
    loss_rate: int = 0
    terms: Terms = field(default_factory=Terms)
    resumed_at: float | None = None
    resumed_after: int = 0
    concern: str = ""
    orders: tuple[OrderRecord, ...] = ()

    @property
    def side(self) -> Side:
        return Side.SELL if self.is_long else Side.BUY

    @property
    def filled(self) -> int:
        return sum(order.filled for order in self.orders)

    @property
    def exposure(self) -> int:
        return sum(order.exposure for order in self.orders)

    @property
    def missing(self) -> int:
        """Return what no order fills or may fill: above zero there is room for another."""
        return self.quantity - self.exposure

    @property
    def open_orders(self) -> tuple[OrderRecord, ...]:
        return tuple(order for order in self.orders if order.is_open)

    def order(self, tag: str) -> OrderRecord | None:
        return next((order for order in self.orders if order.tag == tag), None)

    def request(self, tag: str) -> OrderRequest:
        """Return one of its orders as it is to be sent."""
        order = next(order for order in self.orders if order.tag == tag)
        return OrderRequest(tag, self.symbol, order.side, order.quantity, order.product, order.price)

    def with_order(self, changed: OrderRecord) -> ExitRecord:
        """Return the record with one order replaced, or added when it is new."""
        if self.order(changed.tag) is None:
            return replace(self, orders=(*self.orders, changed))
        orders = tuple(changed if order.tag == changed.tag else order for order in self.orders)
        return replace(self, orders=orders)


@dataclass(frozen=True, slots=True)
class Absence:
    """How often an order of unknown fate was looked for in vain, as far as that proves anything.

    Elapsed times: ``since`` of the first look, ``last`` of the last one that counts.
    """

    since: float
    reads: int = 0
    last: float = float("-inf")
    doubt: str = ""  # why the last look proves nothing


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that fails again and again; ``since`` is elapsed time."""

    since: float
    why: str
    count: int = 1


def again(before: Trouble | None, at: Moment, why: str, since: float | None = None) -> Trouble:
    """Return the trouble after one more failure, that began at ``since`` (elapsed) where it took its time.

    What was said first stays: a person who has read it is not called again for another wording.
    """
    if before is None:
        return Trouble(at.elapsed if since is None else since, why)
    return replace(before, count=before.count + 1)


NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Memory:
    """What an exit's worker remembers from step to step. All times are elapsed ones.

    Attributes:
        absences: By tag, of orders whose fate is unknown.
        refusals: By tag: replies that say "refused", believed once the book agrees, and since when.
        unread: The account cannot be read.
        unsent: Orders do not leave this machine.
        flat_since: Beginning of the read that first showed nothing to exit.
        covered: Other orders leave no room for ours.
        hold: Why nothing is sent now, whatever a new try may do: a switch, a closed market.
        asked: What a person has to decide.
        is_unanswered: The reply to the order that is being sent takes long.
        limit_checked: When a queued order was last held against the circuit limits.

    """

    absences: Mapping[str, Absence] = field(default_factory=lambda: NOTHING)
    refusals: Mapping[str, tuple[WriteResult, float]] = field(default_factory=lambda: NOTHING)
    unread: Trouble | None = None
    unsent: Trouble | None = None
    flat_since: float | None = None
    covered: Trouble | None = None
    hold: str = ""
    asked: str = ""
    is_unanswered: bool = False
    limit_checked: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All that ``step`` decides by, besides the event."""

    record: ExitRecord
    memory: Memory = field(default_factory=Memory)

    def with_order(self, order: OrderRecord) -> State:
        return replace(self, record=self.record.with_order(order))

    def remembering(self, **changes: Any) -> State:
        return replace(self, memory=replace(self.memory, **changes))
