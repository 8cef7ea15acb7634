"""What the broker's book proves about our orders."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from marketdata.domain.orders import OrderSnapshot, OrderStatus, RejectClass, Side
from strategies.domain.absence import QUIET_S, is_absent, looked_for, sign_of_age, sign_of_life
from strategies.domain.events import Seen
from strategies.domain.exits import ORDER_TRANSITIONS, OrderState
from strategies.domain.record import ExitRecord, Moment, OrderRecord, State
from strategies.domain.tags import is_ours

_NEVER_SENT = (OrderState.PLANNED, OrderState.VOID)
_GIVEN_UP = "not at the broker, as far as can be known"
REFUSED_LOOK_UP_S = 10.0
"""How long a refused order is looked for in a book that cannot be read, before its fate is unknown."""

DOUBTED_S = 2.0
"""The same in a book that something speaks against."""


def fold(state: State, seen: Seen) -> State:
    """Return the state with everything that one read of the account proves."""
    state = _adopted(state, seen)
    for order in state.record.orders:
        if order.state in _NEVER_SENT:
            continue
        row = row_of(order, seen.book)
        state = _found(state, order, row, seen) if row else _not_found(state, order, seen)
    for row in twins(state.record.orders, seen.book):
        # No tag of ours has this shape, and it is never sent.
        tag = f"{row.tag[:15]}~{len(state.record.orders)}"
        state = _taken_in(state, row, tag, seen)
    return state


def _adopted(state: State, seen: Seen) -> State:
    """Take in orders that carry a tag of ours but are in no record: it was lost, they were not."""
    record = state.record
    if seen.around is None or record.state.is_final:
        return state
    for row in seen.book:
        known = row.tag in seen.around.tags or record.order(row.tag) is not None
        what = (record.symbol, record.side, record.product)
        # What has ended is in the position already, and may have been another installation's.
        if known or row.status.is_final or not is_ours(row.tag) or _what(row) != what:
            continue
        state = state.with_order(_unrecorded(record, row, row.tag, seen.at))
    return state


def _what(row: OrderSnapshot) -> tuple[str, Side, str]:
    return row.symbol, row.side, row.product


def _taken_in(state: State, row: OrderSnapshot, tag: str, seen: Seen) -> State:
    order = _unrecorded(state.record, row, tag, seen.at)
    return _found(state, order, row, seen)


def _unrecorded(record: ExitRecord, row: OrderSnapshot, tag: str, at: Moment) -> OrderRecord:
    """Return an order that is at the broker and in no record, before it is looked what became of it."""
    return OrderRecord(
        tag=tag,
        state=OrderState.UNKNOWN,
        side=row.side,
        product=row.product,
        quantity=row.quantity,
        day=at.today,
        planned_at=at.time,
        sent_at=at.time,
        changed_at=at.time,
        slice_no=max((other.slice_no for other in record.orders), default=0) + 1,
        message="found at the broker, without a record here",
    )


def row_of(order: OrderRecord, book: Collection[OrderSnapshot]) -> OrderSnapshot | None:
    """Return the book's row of ``order``: by the broker's id when it is there, else by our tag."""
    named = [row for row in book if row.order_id and row.order_id == order.broker_order_id]
    tagged = [row for row in book if row.tag and row.tag == order.tag]
    # Of several with our tag, the one that says most: filled, then live.
    return max(named or tagged, key=lambda row: (row.filled_quantity, not row.status.is_final), default=None)


def twins(orders: Collection[OrderRecord], book: Collection[OrderSnapshot]) -> list[OrderSnapshot]:
    """Return the rows that have the tag of one of ``orders`` without being its own.

    A broker that booked one request twice shows two rows; each is an order that may fill.
    """
    tags = {order.tag for order in orders}
    own = [row_of(order, book) for order in orders if order.state not in _NEVER_SENT]
    ids = {order.broker_order_id for order in orders} | {row.order_id for row in own if row}
    return [row for row in book if row.tag in tags and row.order_id not in ids]


def _found(state: State, order: OrderRecord, row: OrderSnapshot, seen: Seen) -> State:
    shown = booked(order, row, seen.at)
    refusal = state.memory.refusals.get(order.tag)
    if shown.state is OrderState.REJECTED and refusal is not None:
        shown = replace(shown, reject_class=refusal[0].reject_class, reject_reason=refusal[0].reject_reason)
    return _forget(state.with_order(shown), order.tag)


def _not_found(state: State, order: OrderRecord, seen: Seen) -> State:
    refusal = state.memory.refusals.get(order.tag)
    if refusal is not None and order.state is OrderState.SENDING:
        if sign_of_life(order, state.record, seen) or sign_of_age(seen):
            return state  # not now: what remains in doubt is unknown
        return _forget(state.with_order(_refused(order, state, seen.at)), order.tag)
    if order.state is OrderState.ACKED and _is_let_go(order, state, seen):
        return state.with_order(moved(order, OrderState.LOST, seen.at, message=_GIVEN_UP))
    if order.state is not OrderState.UNKNOWN:
        return state
    absence = looked_for(order, state.record, seen, state.memory.absences.get(order.tag))
    if is_absent(absence) or _is_let_go(order, state, seen):
        lost = moved(order, OrderState.LOST, seen.at, message=_GIVEN_UP)
        return _forget(state.with_order(lost), order.tag)
    return state.remembering(absences={**state.memory.absences, order.tag: absence})


def _is_let_go(order: OrderRecord, state: State, seen: Seen) -> bool:
    """A person who has looked may say that the order is not there, while nothing speaks for it."""
    asked = state.record.resumed_at
    if asked is None or order.sent_at is None or not order.changed_at < asked <= seen.began_at:
        return False  # they had not seen how it stands now
    is_quiet = not 0 <= seen.at.time - order.sent_at < QUIET_S
    return is_quiet and not (sign_of_life(order, state.record, seen) or sign_of_age(seen))


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


def doubted(state: State, at: Moment, within: float = REFUSED_LOOK_UP_S) -> State:
    """Return the state without refusals that no book could confirm in time: their fate is unknown."""
    for tag, (result, since) in state.memory.refusals.items():
        order = state.record.order(tag)
        if order is None or order.state is not OrderState.SENDING:  # its day has ended meanwhile
            state = _forget(state, tag)
        elif at.elapsed - since >= within:
            unknown = moved(order, OrderState.UNKNOWN, at, message=result.message)
            state = _forget(state.with_order(unknown), tag)
    return state


def _forget(state: State, tag: str) -> State:
    memory = state.memory
    return state.remembering(
        absences={known: a for known, a in memory.absences.items() if known != tag},
        refusals={known: r for known, r in memory.refusals.items() if known != tag},
    )


def booked(order: OrderRecord, row: OrderSnapshot, at: Moment) -> OrderRecord:
    """Return an order as the book shows it; what a book that is behind would undo stays as it is."""
    filled = row.filled_quantity
    if filled < order.filled or (filled == order.filled and _has_seen_its_end(order)):
        return order
    state = _shown_state(order, row)
    legal = state is order.state or state in ORDER_TRANSITIONS[order.state]
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


def _shown_state(order: OrderRecord, row: OrderSnapshot) -> OrderState:
    state = state_in_book(row)
    is_going = order.state is OrderState.CANCELLING and state is OrderState.LIVE
    return OrderState.CANCELLING if is_going else state


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
