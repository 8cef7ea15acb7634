"""How much to send: from what the broker says we hold, never from what we think we hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from marketdata.domain.orders import OrderSnapshot, PositionSnapshot, Side


@dataclass(frozen=True, slots=True)
class Need:
    """What an exit still has to do.

    Attributes:
        symbol: Canonical.
        product: The strategy's; the position's own is used when they differ without doubt.
        quantity: Still to be exited, above zero.
        is_listed: Whether the broker's instrument list still has the symbol. If not, a position
            may stand under another name, and not finding it says nothing.

    """

    symbol: str
    product: str
    is_long: bool
    quantity: int
    is_listed: bool = True


@dataclass(frozen=True, slots=True)
class OwnOrder:
    """One order, ours unless told, that the position just read may or may not include."""

    tag: str
    symbol: str
    product: str
    side: Side
    unfilled: int
    order_id: str = ""


@dataclass(frozen=True, slots=True)
class Send:
    """Send one order to shrink ``row``; ``shortfall`` is what the position did not cover."""

    side: Side
    quantity: int
    shortfall: int
    row: PositionSnapshot

    @property
    def product(self) -> str:
        """The position's own: an order of another product would open a new position."""
        return self.row.product


@dataclass(frozen=True, slots=True)
class Flat:
    """There is nothing to exit: the position is closed, or stands on the other side."""

    held: int


@dataclass(frozen=True, slots=True)
class Covered:
    """Orders already on their way cover the whole position: look again.

    ``foreign``: the broker's ids of those that are not ours.
    """

    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unclear:
    """The broker's answer does not say which position is meant."""

    reason: str


Plan = Send | Flat | Covered | Unclear


def plan(
    need: Need,
    positions: Sequence[PositionSnapshot],
    own: Sequence[OwnOrder],
    foreign: Sequence[OrderSnapshot] = (),
) -> Plan:
    """Return what to do for ``need``.

    Args:
        need: The exit's residual.
        positions: A fresh, complete read of the account.
        own: Our orders on the account that may still fill, or that finished after the read.
        foreign: Open orders of the same read that are not ours: the trader's own exits count too.

    Returns:
        ``Send`` never exceeds the position less everything that may still shrink it, so what we
        send can shrink the position but not turn it.

    """
    row = _row(need, positions)
    if isinstance(row, Unclear):
        return row
    held = row.quantity if row else 0
    size = held if need.is_long else -held
    if row is None or size <= 0:
        return Flat(held)
    side = Side.SELL if need.is_long else Side.BUY
    left = room(row, side, [*own, *map(pending, foreign)])
    if left <= 0:
        return Covered(tuple(order.order_id for order in foreign if _competes(pending(order), row, side)))
    quantity = min(need.quantity, left)
    return Send(side, quantity, need.quantity - quantity, row)


def not_ours(
    book: Iterable[OrderSnapshot], tags: Collection[str], order_ids: Collection[str]
) -> list[OrderSnapshot]:
    """Return the open orders of a book that are known neither by tag nor by the broker's id."""
    return [
        row
        for row in book
        if not row.status.is_final and row.tag not in tags and row.order_id not in order_ids
    ]


def pending(order: OrderSnapshot) -> OwnOrder:
    """Return an open order of the book as one that may still shrink a position."""
    unfilled = max(order.quantity - order.filled_quantity, 0)
    return OwnOrder(order.tag, order.symbol, order.product, order.side, unfilled)


def room(row: PositionSnapshot, side: Side, orders: Iterable[OwnOrder]) -> int:
    """Return how much of a position the orders leave: one whose fate is unknown counts in full."""
    return abs(row.quantity) - sum(order.unfilled for order in orders if _competes(order, row, side))


def _competes(order: OwnOrder, row: PositionSnapshot, side: Side) -> bool:
    return (order.product, order.side) == (row.product, side) and shrinks(order.symbol, row)


def shrinks(symbol: str, row: PositionSnapshot) -> bool:
    """Tell whether an order on ``symbol`` concerns the position ``row``.

    Shares held in demat are the same shares under every exchange they may be sold on.
    """
    if row.from_holdings:
        return symbol.partition(":")[2] == row.symbol.partition(":")[2]
    return symbol == row.symbol


def _row(need: Need, positions: Sequence[PositionSnapshot]) -> PositionSnapshot | Unclear | None:
    ours = [p for p in positions if p.symbol == need.symbol]
    same_product = [p for p in ours if p.product == need.product]
    if same_product:
        return _own_row(need, same_product, ours)
    if not need.is_listed:
        return Unclear(f"{need.symbol} is no longer in the broker's instrument list")
    if any(not p.symbol and p.quantity for p in positions):
        return Unclear("the broker shows a position that is not in the instrument list: import it again")
    return _converted(need, [p for p in ours if (p.quantity > 0) == need.is_long and p.quantity])


def _own_row(
    need: Need, same_product: Sequence[PositionSnapshot], all_products: Sequence[PositionSnapshot]
) -> PositionSnapshot | Unclear:
    if len(same_product) > 1:
        return Unclear("two position rows of one product")
    beside = [
        p
        for p in all_products
        if p.product != need.product and (p.quantity > 0) == need.is_long and not p.from_holdings
    ]
    if not same_product[0].quantity and any(p.quantity for p in beside):
        # Closed, with another position beside it, or converted: the rows look the same.
        products = ", ".join(sorted(p.product for p in beside if p.quantity))
        return Unclear(f"the {need.product} position in {need.symbol} is at zero, but there is {products}")
    return same_product[0]


def _converted(need: Need, others: Sequence[PositionSnapshot]) -> PositionSnapshot | Unclear | None:
    """Without a row of its own product a position may have been converted into another one."""
    if len(others) > 1 or any(p.from_holdings for p in others):
        products = ", ".join(sorted(p.product for p in others))
        return Unclear(f"no {need.product} position in {need.symbol}, but {products}")
    return others[0] if others else None
