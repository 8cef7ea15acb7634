"""From what the account shows to the order that is planned, or why none is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from marketdata.domain.orders import Side
from strategies.domain.absence import lookalikes, opening, sign_of_life
from strategies.domain.events import Circumstances, Command, End, OpenWire, Rest, Seen, Tell
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.planning import (
    Covered,
    Flat,
    Need,
    OwnOrder,
    Send,
    Unclear,
    not_ours,
    pending,
    plan,
    room,
)
from strategies.domain.pricing import Limit, limit_for
from strategies.domain.record import ExitRecord, OrderRecord, State, again
from strategies.domain.sentences import covered_text
from strategies.domain.trying import Ask, Go

ORDERS_USED_UP = (
    "The account's order requests of today are used up: the exit is sent on the next trading day. "
    "Close the position in the broker's app if it cannot wait."
)
POLL_S = 1.0
HOLD_POLL_S = 5.0
HUMAN_POLL_S = 30.0
READ_COUNTS_S = 1.0
"""So much of a read's age counts as the plan's; a broker that is slower must not keep exits from leaving."""

FLAT_AGAIN_S = 2.0
"""How long after the first look that showed nothing held a second one has to say the same."""


Step = tuple[State, tuple[Command, ...]]


def plan_order(  # noqa: PLR0911 - each way of not sending is one
    state: State, seen: Seen, around: Circumstances, verdict: Go | Ask
) -> Step:
    """Plan the order of ``verdict``; while a person is asked, only see whether nothing is left to exit."""
    if isinstance(verdict, Go) and (held := _held_back(state, seen, around)):
        return held
    state = state.remembering(hold="", asked=verdict.reason if isinstance(verdict, Ask) else "")
    if revenant := _shown_alive(seen, around):
        text = (
            f"The broker's order book shows order {revenant} of ours as open, which has ended: it is behind, or the "
            "order lives. Nothing is sent before that is clear."
        )
        return _covered(state, seen, text)
    record = state.record
    quantity = verdict.quantity if isinstance(verdict, Go) else record.missing
    need = Need(record.symbol, record.product, record.is_long, quantity, record.terms.is_listed)
    own = [*around.own, *_unshown(seen, around)]
    found = plan(need, seen.positions, own, not_ours(seen.book, around.tags, around.order_ids))
    if isinstance(found, Flat):
        return _flat(state, seen)
    state = state.remembering(flat_since=None)
    if isinstance(verdict, Ask):
        return state, (Rest(HUMAN_POLL_S),)
    match found:
        case Unclear(reason):
            asked = f"It is not clear which position to close: {reason}."
            return state.remembering(asked=asked), (Rest(HUMAN_POLL_S),)
        case Covered(foreign):
            return _covered(state, seen, covered_text(foreign))
        case Send():  # pragma: no branch - the last of them
            if doubt := _taken_all_the_same(record, seen):
                return _covered(state, seen, doubt)
            order = _order(state, seen, around, verdict, found)
            return state.remembering(covered=None).with_order(order), (OpenWire(order.tag),)


def has_room(order: OrderRecord, record: ExitRecord, seen: Seen, own: Sequence[OwnOrder]) -> bool:
    """Tell whether an order planned from ``seen`` still fits.

    The exposure rule: with all that may still fill, no more than the exit asks for and no more than
    the position holds. ``own`` is read anew, in the transaction that creates the order.
    """
    row = next((p for p in seen.positions if (p.symbol, p.product) == (record.symbol, order.product)), None)
    if row is None or seen.around is None or order.quantity > record.missing:
        return False
    foreign = not_ours(seen.book, seen.around.tags, seen.around.order_ids)
    return order.quantity <= room(
        row, order.side, [*own, *_unshown(seen, seen.around), *map(pending, foreign)]
    )


def _covered(state: State, seen: Seen, why: str) -> Step:
    covered = replace(again(state.memory.covered, seen.at, why), why=why)
    return state.remembering(covered=covered), (Rest(POLL_S),)


def _shown_alive(seen: Seen, around: Circumstances) -> str:
    """Return the broker's id of an order of ours that the book shows as open and our record as ended."""
    live = {order.tag for order in around.own}
    live_ids = {order.order_id for order in around.own}
    for row in seen.book:
        is_ours = row.tag in around.tags or row.order_id in around.order_ids
        is_live = row.tag in live or row.order_id in live_ids
        if is_ours and not is_live and not row.status.is_final:
            return row.order_id
    return ""


def _taken_all_the_same(record: ExitRecord, seen: Seen) -> str:
    """Say what speaks for an order that was refused at the door, if anything.

    Its refusal was believed at the first look. A broker that lies, and whose book stands still, may show a
    sign of it later; then not even a person has more orders sent before it is gone.
    """
    for order in record.orders:
        is_at_the_door = order.state is OrderState.REJECTED and not order.broker_order_id
        if is_at_the_door and order.day == seen.at.today and (sign := sign_of_life(order, record, seen)):
            return (
                f"The broker refused exit order {order.tag}, but {sign}: it may have taken it all the same. Look for "
                "it in the broker's app. Nothing more is sent before that is clear."
            )
    return ""


def _unshown(seen: Seen, around: Circumstances) -> list[OwnOrder]:
    """Return fills that the book has and the position does not show, as orders that have yet to fill.

    A position that is older than the book would be sold twice: of the two the smaller counts.
    """
    found = []
    for (symbol, product), before in around.openings.items():
        excess = opening(symbol, product, seen.book, seen.positions) - before
        held = sum(row.quantity for row in seen.positions if (row.symbol, row.product) == (symbol, product))
        if held > 0 < excess or held < 0 > excess:
            side = Side.SELL if held > 0 else Side.BUY
            found.append(OwnOrder("", symbol, product, side, abs(excess)))
    return found


def _opening(symbol: str, product: str, side: Side, seen: Seen, around: Circumstances) -> int:
    """Return the position without the day's fills, by the account's earlier orders where that was smaller."""
    now = opening(symbol, product, seen.book, seen.positions)
    before = around.openings.get((symbol, product), now)
    return min(now, before) if side is Side.SELL else max(now, before)


def _held_back(state: State, seen: Seen, around: Circumstances) -> Step | None:
    """Hold an exit while it may not be sent. An old breach must not sell when the switch is turned."""
    is_over = around.is_refusal_final or state.record.day != seen.at.today
    if around.refusal and is_over and not state.record.open_orders:  # what is open is seen to its end
        return _abort(state, around.refusal)
    closed = "" if seen.is_trading else "The market is closed: the exit is sent when it opens."
    used_up = "" if seen.orders_left > 0 else ORDERS_USED_UP
    if hold := around.refusal or closed or used_up:
        return state.remembering(hold=hold), (Rest(HOLD_POLL_S),)
    return None


def _order(state: State, seen: Seen, around: Circumstances, go: Go, send: Send) -> OrderRecord:
    limit = _limit(state, seen, go, send)
    return OrderRecord(
        tag=around.new_tag,
        state=OrderState.PLANNED,
        side=send.side,
        product=send.product,
        quantity=send.quantity,
        day=seen.at.today,
        planned_at=seen.at.time - min(seen.at.elapsed - seen.began, READ_COUNTS_S),
        changed_at=seen.at.time,
        slice_no=go.slice_no,
        try_no=go.try_no,
        price=limit.price if limit else None,
        is_queued=limit.is_queued if limit else False,
        lookalikes=lookalikes(
            state.record, around.new_tag, (send.side, send.product, send.quantity), seen.book
        ),
        opening=_opening(state.record.symbol, send.product, send.side, seen, around),
    )


def _limit(state: State, seen: Seen, go: Go, send: Send) -> Limit | None:
    """Return the limit of a try; None for the first, and where no price is to be had: at the market."""
    if not go.needs_quote or seen.quote is None or seen.quote.price <= 0:
        return None
    tick = state.record.terms.tick_size
    return limit_for(send.side, seen.quote, tick, rested=go.rested, refused=go.refused)


def _flat(state: State, seen: Seen) -> Step:
    """Believe "nothing held" only when a second, newer read says the same."""
    since, record = state.memory.flat_since, state.record
    if record.open_orders:  # what is open may still fill, or have filled: it decides
        return state, (Rest(POLL_S),)
    if since is None:
        return state.remembering(flat_since=seen.began), (Rest(FLAT_AGAIN_S),)
    if seen.began - since < FLAT_AGAIN_S:
        return state, (Rest(FLAT_AGAIN_S - (seen.began - since)),)
    if not record.filled:
        what = "none of its exit's orders was filled" if _sent(record) else "no order was sent"
        return _abort(state, f"The position was already closed at the broker: {what}.", is_flat=True)
    note = f"{record.filled} exited; the rest of the position was already closed."
    done = replace(record, state=ExitState.DONE, concern="")
    return replace(state, record=done), (End(is_flat=True, note=note),)


def _sent(record: ExitRecord) -> list[OrderRecord]:
    return [
        order for order in record.orders if order.sent_at is not None and order.state is not OrderState.VOID
    ]


def _abort(state: State, note: str, *, is_flat: bool = False) -> Step:
    aborted = replace(state.record, state=ExitState.ABORTED, concern=note)
    return replace(state, record=aborted), (Tell("aborted", note), End(is_flat=is_flat, note=note))
