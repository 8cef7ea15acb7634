"""One account at the broker as it truly is, and what the broker shows of it.

The truth is exact. What is shown may be old (a view is frozen), leave out an order (it is hidden)
or its tag (it is stripped): nothing of that changes the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from marketdata.domain.orders import (
    OrderRequest,
    OrderSnapshot,
    OrderStatus,
    PositionSnapshot,
    RejectReason,
    Side,
    TradeSnapshot,
)

VIEWS = ("orders", "trades", "positions")


@dataclass(slots=True)
class TrueOrder:
    """An order at the exchange. ``true_tag`` is what it was sent with; ``tag`` what the broker shows."""

    order_id: str
    true_tag: str
    tag: str
    symbol: str
    side: Side
    product: str
    quantity: int
    price: Decimal | None
    at: float
    filled: int = 0
    status: OrderStatus = OrderStatus.LIVE
    average: Decimal | None = None
    message: str = ""
    reject_reason: RejectReason | None = None
    hidden_until: float = 0.0  # in the order book
    hidden_fills_until: float = 0.0  # in trades and positions as well
    fills: list[tuple[float, int, Decimal]] = field(default_factory=list)
    was_cancelled_at: float | None = None
    revived: int = 0  # filled after the broker had called it cancelled

    @property
    def unfilled(self) -> int:
        return 0 if self.status.is_final else self.quantity - self.filled

    @property
    def key(self) -> tuple[str, str]:
        return self.symbol, self.product

    @property
    def sign(self) -> int:
        return 1 if self.side is Side.BUY else -1

    def snapshot(self) -> OrderSnapshot:
        return OrderSnapshot(
            self.order_id, self.tag, self.symbol, self.side, self.product, self.quantity, self.filled,
            self.status, self.status.value.upper(), self.average, self.message, self.reject_reason,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fill:
    """One fill as it changed the position, for the oracle. ``order`` has its state after it."""

    at: float
    order: TrueOrder
    quantity: int
    before: int
    after: int


class Ledger:
    """The truth of one account. Times are those of the loop."""

    def __init__(self, name: str, time: Callable[[], float]) -> None:
        self.name = name
        self._time = time
        self.held: dict[tuple[str, str], int] = {}
        self.orders: dict[str, TrueOrder] = {}
        self.fills: list[Fill] = []
        self.by_tag: dict[str, TrueOrder] = {}
        self.flying: dict[str, OrderRequest] = {}  # by tag, what is on its way and in no book yet
        self.on_fill: Callable[[Fill], None] = lambda _: None
        self._earlier = 0
        self._frozen: dict[str, tuple[float, Sequence[Any]]] = {}

    # --- the truth ------------------------------------------------------------------------

    def book(self, request: OrderRequest, *, ours: bool, tag: str | None = None) -> TrueOrder:
        """Take an order into the book; ``tag`` is what is shown of its own, if that differs."""
        order = TrueOrder(
            f"{self.name}{len(self.orders) + self._earlier + 1}",
            request.tag if ours else "", request.tag if tag is None else tag,
            request.symbol, request.side, request.product, request.quantity, request.limit_price, self._time(),
        )  # fmt: skip
        self.orders[order.order_id] = order
        if ours:
            self.by_tag.setdefault(request.tag, order)
        return order

    def fill(self, order: TrueOrder, quantity: int, price: Decimal) -> None:
        """Fill ``quantity`` of an order, even one that was called cancelled."""
        before = self.held.get(order.key, 0)
        after = before + order.sign * quantity
        if order.was_cancelled_at is not None:
            order.revived += quantity
        order.filled += quantity
        order.average = price
        order.fills.append((self._time(), quantity, price))
        if order.filled == order.quantity:
            order.status = OrderStatus.FILLED
        self.held[order.key] = after
        fill = Fill(self._time(), order, quantity, before, after)
        self.fills.append(fill)
        self.on_fill(fill)

    def cancel(self, order: TrueOrder, message: str = "") -> None:
        order.status, order.message = OrderStatus.CANCELLED, message
        order.was_cancelled_at = self._time()

    def reject(self, order: TrueOrder, reason: RejectReason, message: str) -> None:
        order.status, order.message, order.reject_reason = OrderStatus.REJECTED, message, reason

    def convert(self, symbol: str, old: str, new: str) -> None:
        """Convert a position into another product, as a trader may by hand: two trades to orders of ours."""
        quantity = self.held.get((symbol, old), 0)
        self._trade_by_hand(symbol, old, -quantity)
        self._trade_by_hand(symbol, new, quantity)

    def _trade_by_hand(self, symbol: str, product: str, quantity: int) -> None:
        before = self.held.get((symbol, product), 0)
        self.held[symbol, product] = after = before + quantity
        side = Side.BUY if quantity > 0 else Side.SELL
        trade = TrueOrder("", "", "", symbol, side, product, abs(quantity), None, self._time())
        self.fills.append(Fill(self._time(), trade, abs(quantity), before, after))

    def end_day(self) -> None:
        """Open orders expire with their day, what is on its way finds a closed door, and the book begins anew."""
        for order in self.orders.values():
            if not order.status.is_final:
                self.cancel(order, "day ended")
        self.flying.clear()
        self._earlier += len(self.orders)
        self.orders = {}
        self._frozen = {}

    def live(self) -> list[TrueOrder]:
        return [order for order in self.orders.values() if not order.status.is_final]

    # --- what is shown --------------------------------------------------------------------

    def freeze(self, views: Sequence[str]) -> None:
        """Show these views as they are now until they thaw."""
        for view in views:
            self._frozen[view] = (self._time(), self._fresh(view))

    def thaw(self, views: Sequence[str]) -> None:
        for view in views:
            self._frozen.pop(view, None)

    def show(self, view: str) -> tuple[float, Sequence[Any]]:
        """Return a view and since when it may be old."""
        return self._frozen.get(view) or (self._time(), self._fresh(view))

    def _fresh(self, view: str) -> Sequence[Any]:
        now = self._time()
        if view == "orders":
            return [o.snapshot() for o in self.orders.values() if o.hidden_until <= now]
        if view == "trades":
            shown = [o for o in self.orders.values() if o.hidden_fills_until <= now]
            return [
                TradeSnapshot(o.order_id, o.symbol, o.side, o.product, quantity, price)
                for o in shown
                for _, quantity, price in o.fills
            ]
        held = dict(self.held)
        for order in self.orders.values():
            if order.hidden_fills_until > now and order.filled:
                held[order.key] = held.get(order.key, 0) - order.sign * order.filled
        return [PositionSnapshot(symbol, product, q) for (symbol, product), q in held.items()]
