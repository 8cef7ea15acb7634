"""Whether an order whose reply was lost is surely not at the broker.

"Not in the order book" proves little: brokers have shown books that were an hour old while they
still took orders. So a look counts only when nothing speaks against it, and it takes three of
them, after a silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from marketdata.domain.orders import OrderSnapshot, PositionSnapshot, Side
from strategies.domain.events import Seen
from strategies.domain.planning import shrinks
from strategies.domain.record import Absence, ExitRecord, OrderRecord

QUIET_S = 10.0
"""No look within so long after the first one counts."""

READS = 3
SPACING_S = 2.0


def looked_for(order: OrderRecord, record: ExitRecord, seen: Seen, before: Absence | None) -> Absence:
    """Return what is known of an order's absence after one more look that did not find it."""
    absence = before or Absence(seen.began)
    if doubt := sign_of_life(order, record, seen) or sign_of_age(seen):
        return replace(absence, reads=0, doubt=doubt)
    if seen.began < max(absence.since + QUIET_S, absence.last + SPACING_S):
        return replace(absence, doubt="")
    return replace(absence, reads=absence.reads + 1, last=seen.began, doubt="")


def is_absent(absence: Absence) -> bool:
    """Tell whether it is strongly evidenced that the order does not exist."""
    return absence.reads >= READS


def sign_of_life(order: OrderRecord, record: ExitRecord, seen: Seen) -> str:
    """Say what speaks for an order that the book does not show, if anything."""
    ids = {row.order_id for row in seen.book}
    if any(trade.order_id not in ids for trade in seen.trades or ()):
        return "the broker shows a trade of an order that its order book does not show"
    if any(update.tag == order.tag for update in seen.heard.values()):
        return "the broker has sent news of this order"
    what = (order.side, order.product, order.quantity)
    if lookalikes(record, order.tag, what, seen.book) > order.lookalikes:
        return "an order in the book has no tag but looks like this one"
    if order.opening != opening(record.symbol, order.product, seen.book, seen.positions):
        return "the position has changed by more than the order book explains"
    return ""


def sign_of_age(seen: Seen) -> str:
    """Say what speaks against the book itself, if anything."""
    if seen.trades is None:
        return "the day's trades were not read"
    if is_stale(seen.book, seen.known, seen.heard.values()):
        return "the broker's order book is out of date"
    return ""


def lookalikes(
    record: ExitRecord, tag: str, what: tuple[Side, str, int], book: Iterable[OrderSnapshot]
) -> int:
    """Count the orders of a book that may be one of ours with its tag stripped or cut.

    Args:
        record: The exit; orders known to be its own are left out.
        tag: Of the order that is looked for.
        what: Its side, product and quantity.
        book: The day's orders.

    """
    ours = {order.broker_order_id for order in record.orders} - {""}
    return sum(
        (row.symbol, row.side, row.product, row.quantity) == (record.symbol, *what)
        and tag.startswith(row.tag)
        and row.order_id not in ours
        for row in book
    )


def is_stale(
    book: Iterable[OrderSnapshot], known: Iterable[OrderRecord], heard: Iterable[OrderSnapshot]
) -> bool:
    """Tell whether the book shows less than we know of any order of today."""
    rows = {row.order_id: row for row in book}
    facts = [
        (order.broker_order_id, order.state.is_final, order.filled)
        for order in known
        if order.broker_order_id and not order.has_unknown_fate
    ]
    facts += [(update.order_id, update.status.is_final, update.filled_quantity) for update in heard]
    return any(_is_behind(rows.get(order_id), ended, filled) for order_id, ended, filled in facts)


def _is_behind(row: OrderSnapshot | None, ended: bool, filled: int) -> bool:
    return row is None or row.filled_quantity < filled or (ended and not row.status.is_final)


def opening(
    symbol: str, product: str, book: Iterable[OrderSnapshot], positions: Sequence[PositionSnapshot]
) -> int:
    """Return a position less the day's fills in the book: what it would be without them.

    While the book is complete this does not change, whoever trades.
    """
    row = next((p for p in positions if (p.symbol, p.product) == (symbol, product)), None)
    row = row or PositionSnapshot(symbol, product, 0)
    fills = sum(
        order.filled_quantity if order.side == "BUY" else -order.filled_quantity
        for order in book
        if order.product == product and shrinks(order.symbol, row)
    )
    return row.quantity - fills
