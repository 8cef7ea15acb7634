"""What the broker's book proves about our orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from marketdata.domain.orders import OrderSnapshot, OrderStatus, RejectClass
from strategies.domain.absence import is_absent, looked_for, sign_of_life
from strategies.domain.events import Seen
from strategies.domain.exits import ORDER_TRANSITIONS, OrderState
from strategies.domain.record import Moment, OrderRecord, State
from strategies.domain.tags import is_ours

_NEVER_SENT = (OrderState.PLANNED, OrderState.VOID)
REFUSED_LOOK_UP_S = 10.0
"""How long a refused order is looked for in a book that cannot be read, before its fate is unknown."""


def fold(state: State, seen: Seen) -> State:
    """Return the state with everything that one read of the account proves."""
    state = _adopted(state, seen)
    for order in state.record.orders:
        if order.state in _NEVER_SENT:
            continue
        rows = rows_of(order, seen.book)
        state = _found(state, order, rows, seen) if rows else _not_found(state, order, seen)
    return state


def _adopted(state: State, seen: Seen) -> State:
    """Take in orders that carry a tag of ours but are in no record: it was lost, they were not."""
    record = state.record
    if seen.around is None or record.state.is_final:
        return state
    for row in seen.book:
        known = row.tag in seen.around.tags or record.order(row.tag) is not None
        if known or not is_ours(row.tag) or (row.symbol, row.side) != (record.symbol, record.side):
            continue
        order = OrderRecord(
            tag=row.tag,
            state=OrderState.UNKNOWN,
            side=row.side,
            product=row.product,
            quantity=row.quantity,
            day=seen.at.today,
            planned_at=seen.at.time,
            sent_at=seen.at.time,
            changed_at=seen.at.time,
            slice_no=max((other.slice_no for other in state.record.orders), default=0) + 1,
            message="found at the broker, without a record here",
        )
        state = state.with_order(order)
    return state


def rows_of(order: OrderRecord, book: Iterable[OrderSnapshot]) -> list[OrderSnapshot]:
    """Return the book's rows of ``order``: by the broker's id when we have it, and by our tag.

    One, normally. A broker that booked one request twice shows two.
    """
    return [
        row
        for row in book
        if (row.order_id and row.order_id == order.broker_order_id) or (row.tag and row.tag == order.tag)
    ]


def _found(state: State, order: OrderRecord, rows: Sequence[OrderSnapshot], seen: Seen) -> State:
    shown = booked(order, rows, seen.at)
    refusal = state.memory.refusals.get(order.tag)
    if shown.state is OrderState.REJECTED and refusal is not None:
        shown = replace(shown, reject_class=refusal[0].reject_class, reject_reason=refusal[0].reject_reason)
    return _forget(state.with_order(shown), order.tag)


def _not_found(state: State, order: OrderRecord, seen: Seen) -> State:
    refusal = state.memory.refusals.get(order.tag)
    if refusal is not None:
        return _forget(state.with_order(_refused(order, state, seen.at)), order.tag)
    if order.state is not OrderState.UNKNOWN:
        return state
    absence = looked_for(order, state.record, seen, state.memory.absences.get(order.tag))
    if is_absent(absence) or _is_let_go(order, state, seen):
        lost = moved(order, OrderState.LOST, seen.at, message="not at the broker, as far as can be known")
        return _forget(state.with_order(lost), order.tag)
    return state.remembering(absences={**state.memory.absences, order.tag: absence})


def _is_let_go(order: OrderRecord, state: State, seen: Seen) -> bool:
    """A person who has looked may say that the order is not there, while nothing speaks for it."""
    asked = state.record.resumed_at
    if asked is None or order.sent_at is None or not order.sent_at < asked <= seen.began_at:
        return False
    return seen.trades is not None and not sign_of_life(order, state.record, seen)


def _refused(order: OrderRecord, state: State, at: Moment) -> OrderRecord:
    result = state.memory.refusals[order.tag][0]
    return moved(
        order,
        OrderState.REJECTED,
        at,
        message=result.message,
        reject_class=result.reject_class,
        reject_reason=result.reject_reason,
    )


def doubted(state: State, at: Moment) -> State:
    """Return the state without refusals that no book could confirm in time: their fate is unknown."""
    for tag, (result, since) in state.memory.refusals.items():
        order = state.record.order(tag)
        if order is not None and at.elapsed - since >= REFUSED_LOOK_UP_S:
            unknown = moved(order, OrderState.UNKNOWN, at, message=result.message)
            state = _forget(state.with_order(unknown), tag)
    return state


def _forget(state: State, tag: str) -> State:
    memory = state.memory
    return state.remembering(
        absences={known: a for known, a in memory.absences.items() if known != tag},
        refusals={known: r for known, r in memory.refusals.items() if known != tag},
    )


def booked(order: OrderRecord, rows: Sequence[OrderSnapshot], at: Moment) -> OrderRecord:
    """Return an order as the book shows it; what a book that is behind would undo stays as it is."""
    filled = sum(row.filled_quantity for row in rows)
    if filled < order.filled or (filled == order.filled and _has_seen_its_end(order)):
        return order
    state = _shown_state(order, rows)
    legal = state is order.state or state in ORDER_TRANSITIONS[order.state]
    row = _telling(rows)
    fields = {
        "filled": filled,
        "average_price": row.average_price or order.average_price,
        "broker_order_id": order.broker_order_id or row.order_id,
        "message": row.message or order.message,
    }
    if state is OrderState.REJECTED and state is not order.state:
        fields |= {"reject_class": row.reject_class or RejectClass.HUMAN}
    if state in (OrderState.REJECTED, OrderState.CANCELLED):
        fields |= {"reject_reason": row.reject_reason or order.reject_reason}
    return moved(order, state if legal else order.state, at, **fields)


def _has_seen_its_end(order: OrderRecord) -> bool:
    """A book has shown how it ended. One that was refused at the door has been in no book yet."""
    return order.state.is_final and order.state is not OrderState.LOST and bool(order.broker_order_id)


def _telling(rows: Sequence[OrderSnapshot]) -> OrderSnapshot:
    """Of several rows, the one that says most: filled, then live."""
    return max(rows, key=lambda row: (row.filled_quantity, not row.status.is_final))


def _shown_state(order: OrderRecord, rows: Sequence[OrderSnapshot]) -> OrderState:
    states = {state_in_book(row) for row in rows}
    if OrderState.LIVE in states:
        return OrderState.CANCELLING if order.state is OrderState.CANCELLING else OrderState.LIVE
    return next(s for s in (OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED) if s in states)


def state_in_book(snapshot: OrderSnapshot) -> OrderState:
    """Return the state of an order that the broker's book shows.

    "Filled" with less than its quantity is a book that has not caught up: the rest counts as live.
    """
    if snapshot.status is OrderStatus.FILLED and snapshot.filled_quantity < snapshot.quantity:
        return OrderState.LIVE
    return {
        OrderStatus.LIVE: OrderState.LIVE,
        OrderStatus.FILLED: OrderState.FILLED,
        OrderStatus.CANCELLED: OrderState.CANCELLED,
        OrderStatus.REJECTED: OrderState.REJECTED,
    }[snapshot.status]


def moved(order: OrderRecord, state: OrderState, at: Moment, **fields: object) -> OrderRecord:
    """Return the order in ``state``, stamped when that is news."""
    changed = replace(order, state=state, **fields)  # type: ignore[arg-type]  # names are checked by replace
    is_news = (changed.state, changed.filled) != (order.state, order.filled)
    return replace(changed, changed_at=at.time) if is_news else changed
