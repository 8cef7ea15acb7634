"""A broker in memory that knows the truth about one account, and shows what it is told to show.

For the stateful test of the exit engine: one share, one product. What is *shown* may be old
(frozen) or lack orders (hidden); what is *true* never is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from marketdata.domain.orders import OrderSnapshot, OrderStatus, PositionSnapshot, Side, TradeSnapshot
from tests.support.steps import SYMBOL

PRICE = Decimal("1499.95")


@dataclass
class TrueOrder:
    """One order as it really is. ``is_hidden``: nothing shows it, nor what it has done to the position."""

    order_id: str
    tag: str
    side: Side
    quantity: int
    is_ours: bool = True
    filled: int = 0
    status: OrderStatus = OrderStatus.LIVE
    is_hidden: bool = False

    @property
    def unfilled(self) -> int:
        return 0 if self.status.is_final else self.quantity - self.filled

    @property
    def signed(self) -> int:
        return self.filled if self.side is Side.BUY else -self.filled

    def shown(self) -> OrderSnapshot:
        return OrderSnapshot(
            self.order_id, self.tag, SYMBOL, self.side, "MIS", self.quantity, self.filled, self.status,
            self.status.value, PRICE if self.filled else None,
        )  # fmt: skip


@dataclass(frozen=True)
class View:
    """What one read of the account shows. ``as_of``: how often others had changed it by then."""

    book: tuple[OrderSnapshot, ...]
    trades: tuple[TradeSnapshot, ...]
    positions: tuple[PositionSnapshot, ...]
    as_of: int


@dataclass
class Ledger:
    """The account. ``by_others`` counts what changed it and was not an order of ours."""

    held: int
    orders: dict[str, TrueOrder] = field(default_factory=dict)
    frozen: View | None = None
    by_others: int = 0
    _last_id: int = 0

    def take(self, tag: str, side: Side, quantity: int, *, is_ours: bool = True) -> TrueOrder:
        """Book an order that has arrived."""
        self._last_id += 1
        order = TrueOrder(f"B{self._last_id}", tag, side, quantity, is_ours)
        self.orders[order.order_id] = order
        return order

    def fill(self, order: TrueOrder, quantity: int) -> None:
        fresh = min(quantity, order.quantity - order.filled)
        order.filled += fresh
        self.held += fresh if order.side is Side.BUY else -fresh
        if order.filled == order.quantity:
            order.status = OrderStatus.FILLED
        self.by_others += not order.is_ours

    def cancel(self, order_id: str) -> None:
        order = self.orders.get(order_id)
        if order is not None and not order.status.is_final:
            order.status = OrderStatus.CANCELLED

    def end_day(self) -> None:
        """The book is emptied; what was open is no more."""
        self.orders = {}
        self.frozen = None

    def live(self, side: Side) -> int:
        """Return what open orders may still take from the position."""
        return sum(order.unfilled for order in self.orders.values() if order.side is side)

    def view(self) -> View:
        """Return what is shown now."""
        if self.frozen is not None:
            return self.frozen
        shown = [order for order in self.orders.values() if not order.is_hidden]
        concealed = sum(order.signed for order in self.orders.values() if order.is_hidden)
        return View(
            book=tuple(order.shown() for order in shown),
            trades=tuple(
                TradeSnapshot(order.order_id, SYMBOL, order.side, "MIS", order.filled, PRICE)
                for order in shown
                if order.filled
            ),
            positions=(PositionSnapshot(SYMBOL, "MIS", self.held - concealed),),
            as_of=self.by_others,
        )
