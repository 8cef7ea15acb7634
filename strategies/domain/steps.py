"""An exit, step by step: ``step(state, event) -> (state', commands)``.

Start-up, take-over and ordinary running are the same: the record is loaded and woken, and what
it says is carried on. No order is sent without a record that says so, and a record that says
``sending`` never leads to sending it again.
"""

from __future__ import annotations

from dataclasses import replace

from strategies.domain.events import (
    CancelAnswered,
    CancelOrder,
    Command,
    End,
    Event,
    Note,
    Opened,
    OpenWire,
    ReadAccount,
    Rest,
    Seen,
    TakeTurn,
    Tell,
    TurnGiven,
    Unanswered,
    Unopened,
    Unread,
    Woken,
    Written,
)
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.folding import DOUBTED_S, doubted, fold, moved
from strategies.domain.ordering import HUMAN_POLL_S, POLL_S, plan_order
from strategies.domain.pricing import is_locked
from strategies.domain.record import ExitRecord, Moment, OrderRecord, State, again
from strategies.domain.sending import AT_ONCE, RETRY_S, is_fresh, not_sent, opened, written
from strategies.domain.sentences import TELL_AFTER_S, concern
from strategies.domain.trying import DAY_ENDED, Ask, Go, Later, due_for_reprice, next_try

UNKNOWN_POLL_S = 3.0
SETTLING_S = 10.0
"""For so long after a send its order is looked for every second; an unknown one then every three."""

LIMIT_CHECK_S = 60.0
CANCEL_AGAIN_S = 3.0
TURNED_S = 30.0
"""For so long after an exit a position on the other side is taken for its doing."""

Step = tuple[State, tuple[Command, ...]]


def step(state: State, event: Event) -> Step:
    """Return the exit after ``event``, and what it asks for.

    The caller commits the new record, and whatever is to be told, before it does anything else
    of what is asked; when somebody else has changed the record meanwhile, it does nothing of it.
    """
    after, commands = _handle(state, event)
    if after.record.state.is_final:
        return after, commands
    text = concern(after, event.at)
    # What has ever needed a person is under way: nobody is told of the breach a second time.
    is_new = state.record.state is ExitState.TRIGGERED and not after.record.orders
    calm = ExitState.TRIGGERED if is_new else ExitState.WORKING
    record = replace(after.record, concern=text, state=ExitState.NEEDS_HUMAN if text else calm)
    return replace(after, record=record), commands


def _handle(state: State, event: Event) -> Step:  # noqa: PLR0911 - one case for each event
    match event:
        case Woken(at):
            return _woken(state, at)
        case TurnGiven(at):
            return _turn_given(state, at)
        case Seen():
            return _seen(state, event)
        case Unread():
            return _unread(state, event)
        case Opened(at, tag):
            return opened(state, at, tag)
        case Unopened(at, _, why):
            return not_sent(state, at, why)
        case Unanswered():
            return state.remembering(is_unanswered=True), (AT_ONCE,)
        case Written(at, tag, result):
            return written(state, at, tag, result)
        case CancelAnswered():  # pragma: no branch - the last of them
            return state, (ReadAccount(),)


# --- Waking up ----------------------------------------------------------------------------


def _woken(state: State, at: Moment) -> Step:
    state = _after_interruption(state, at)
    record = state.record
    if record.state.is_final:
        return state, (End(),)
    planned = any(order.state is OrderState.PLANNED for order in record.orders)
    if not planned and (record.open_orders or _is_asking(state, at) or _lost(state)):
        return state, (_look(state, at),)
    return _follow(state, at)


def _after_interruption(state: State, at: Moment) -> State:
    """An order that was being sent when its process ended may be at the broker or not."""
    for order in state.record.open_orders:
        if order.state is OrderState.PLANNED:
            continue
        if order.day < at.today:
            ended = moved(order, OrderState.LOST, at, message=f"{DAY_ENDED} before its fate was known")
            state = state.with_order(ended)
        elif order.state is OrderState.SENDING and order.tag not in state.memory.refusals:
            unknown = moved(order, OrderState.UNKNOWN, at, message="interrupted while sending")
            state = state.with_order(unknown)
    return state


def _is_asking(state: State, at: Moment) -> bool:
    """A person has to decide: it is looked whether the position was closed by hand."""
    record = state.record
    return record.missing > 0 and not record.open_orders and isinstance(next_try(record, at), Ask)


def _lost(state: State) -> list[OrderRecord]:
    return [order for order in state.record.orders if order.state is OrderState.LOST]


def _look(state: State, at: Moment) -> ReadAccount:
    orders = state.record.open_orders
    checked = state.memory.limit_checked
    return ReadAccount(
        trades=any(order.has_unknown_fate or order.state is OrderState.ACKED for order in orders),
        for_plan=_is_asking(state, at),
        quote=any(order.is_queued for order in orders)
        and (checked is None or at.elapsed - checked >= LIMIT_CHECK_S),
    )


def _turn_given(state: State, at: Moment) -> Step:
    verdict = next_try(state.record, at) if _lacks(state) else None
    if not isinstance(verdict, Go):
        return state, (ReadAccount(),)
    return state, (ReadAccount(anew=False, for_plan=True, quote=verdict.needs_quote),)


# --- News of the account ------------------------------------------------------------------


def _unread(state: State, event: Unread) -> Step:
    at = event.at
    trouble = again(state.memory.unread, at, event.why, event.since)
    long = at.elapsed - trouble.since >= TELL_AFTER_S
    return doubted(state.remembering(unread=trouble), at), (Rest(POLL_S if long else RETRY_S),)


def _seen(state: State, seen: Seen) -> Step:
    before, doubts_before = state.record, _doubts(state)
    state = doubted(fold(state.remembering(unread=None), seen), seen.at, DOUBTED_S)
    state = _unqueue(state, seen)
    if before.state.is_final:
        after, commands = _after_the_end(before, state, seen)
    else:
        after, commands = _answer(state, seen)
    notes = [Note("order_doubted", text) for text in _doubts(after) if text not in doubts_before]
    return after, (*_overfill(before, after), *_turned(after, seen), *notes, *commands)


def _doubts(state: State) -> list[str]:
    """Say why orders of unknown fate cannot be given up, as far as anything speaks against it."""
    absences = state.memory.absences.items()
    return [f"Order {tag} is not in the book, but {a.doubt}." for tag, a in absences if a.doubt]


def _answer(state: State, seen: Seen) -> Step:
    if seen.around is not None and _lacks(state):
        verdict = next_try(state.record, seen.at)
        if not isinstance(verdict, Later):
            return plan_order(state, seen, seen.around, verdict)
    return _follow(state, seen.at, seen)


def _lacks(state: State) -> bool:
    planned = any(order.state is OrderState.PLANNED for order in state.record.orders)
    return state.record.missing > 0 and not planned


def _unqueue(state: State, seen: Seen) -> State:
    """A queued order whose limit the market has left behind is an ordinary resting one again."""
    if seen.quote is None:
        return state
    for order in state.record.open_orders:
        if order.is_queued and not is_locked(order.side, seen.quote):
            state = state.with_order(replace(order, is_queued=False))
    return state.remembering(limit_checked=seen.at.elapsed)


# --- More than was wanted -----------------------------------------------------------------


def _overfill(before: ExitRecord, after: State) -> tuple[Tell, ...]:
    record = after.record
    if before.state.is_final and before.filled < record.filled:
        text = (
            f"{record.filled - before.filled} were still filled after the exit in {record.symbol} had ended, "
            f"{record.filled} in all. Look at the position: nothing is bought or sold back for you."
        )
        return (Tell("overfill", text),)
    if not before.filled <= record.quantity < record.filled:
        return ()
    text = (
        f"OVERFILL: {record.filled} filled, {record.quantity} were to be exited. "
        "Look at the position: nothing is bought or sold back for you."
    )
    return (Tell("overfill", text),)


def _turned(state: State, seen: Seen) -> tuple[Tell, ...]:
    """Tell of a position that stands on the other side just after its exit."""
    record = state.record
    ended = max((order.changed_at for order in record.orders if order.filled), default=None)
    if not record.state.is_final or ended is None or not 0 <= seen.at.time - ended <= TURNED_S:
        return ()
    products = {order.product for order in record.orders if order.filled}
    for row in seen.positions:
        is_turned = row.quantity < 0 if record.is_long else row.quantity > 0
        if row.symbol == record.symbol and row.product in products and is_turned:
            text = (
                f"OVERFILL: after the exit the position in {record.symbol} stands at {row.quantity}: it was closed "
                "elsewhere at the same time. Nothing is bought or sold back for you."
            )
            return (Tell("overfill", text),)
    return ()


def _after_the_end(before: ExitRecord, state: State, seen: Seen) -> Step:
    """Nothing is wanted any more: what is still alive at the broker is cancelled, and told of."""
    if repeat := _cancel_is_due(state, seen.at):
        return _cancel(state, repeat, seen.at)
    live = [order for order in state.record.orders if order.state is OrderState.LIVE]
    if not live:
        return state, (End(),)
    after, commands = _cancel(state, live[-1], seen.at)
    known = before.order(live[-1].tag)
    if known is not None and known.is_open:  # a person ended the exit and left the order to us
        return after, commands
    text = f"OVERFILL: order {live[-1].broker_order_id} turned up after its exit had ended: cancelling it."
    return after, (Tell("overfill", text), *commands)


# --- What next ----------------------------------------------------------------------------


def _follow(state: State, at: Moment, seen: Seen | None = None) -> Step:
    """Return what is to be done with what is known now."""
    record = state.record
    for planned in record.orders:
        if planned.state is OrderState.PLANNED:
            return _planned(state, planned, at)
    if order := _too_much(state) or _cancel_is_due(state, at) or _to_reprice(state, at, seen):
        return _cancel(state, order, at)
    if record.missing > 0:
        return _try(state, at)
    state = state.remembering(asked="", hold="", covered=None)
    if record.open_orders:
        return state, (Rest(_pace(state, at)),)
    done = replace(record, state=ExitState.DONE, concern="")
    return replace(state, record=done), (End(is_flat=True),)


def _planned(state: State, order: OrderRecord, at: Moment) -> Step:
    if is_fresh(order, at):
        return state, (OpenWire(order.tag),)
    void = moved(order, OrderState.VOID, at, message="planned too long ago: never sent")
    return _follow(state.with_order(void), at)


def _too_much(state: State) -> OrderRecord | None:
    """Return the newest order above what is wanted, unless what is being cancelled settles that."""
    record = state.record
    going = sum(o.quantity - o.filled for o in record.open_orders if o.state is OrderState.CANCELLING)
    if record.exposure - going <= record.quantity:
        return None
    live = [order for order in record.open_orders if order.state is OrderState.LIVE]
    return max(live, key=lambda order: order.planned_at, default=None)


def _cancel_is_due(state: State, at: Moment) -> OrderRecord | None:
    """Return an order whose cancel is to be asked for again: a repeat can only fail."""
    for order in state.record.open_orders:
        if order.state is OrderState.CANCELLING and order.cancel_asked_at is not None:
            pause = CANCEL_AGAIN_S * min(2 ** max(order.cancels - 1, 0), 10)
            if not 0 <= at.time - order.cancel_asked_at < pause:
                return order
    return None


def _to_reprice(state: State, at: Moment, seen: Seen | None) -> OrderRecord | None:
    if seen is None or not seen.is_trading or seen.spare_orders <= 0:
        return None
    return due_for_reprice(state.record, at)


def _cancel(state: State, order: OrderRecord, at: Moment) -> Step:
    cancelling = moved(order, OrderState.CANCELLING, at, cancels=order.cancels + 1, cancel_asked_at=at.time)
    return state.with_order(cancelling), (CancelOrder(order.tag, order.broker_order_id),)


def _try(state: State, at: Moment) -> Step:
    pace = _pace(state, at)
    match next_try(state.record, at):
        case Go():
            return state, (TakeTurn(state.record.loss_rate),)
        case Later(seconds):
            return state, (Rest(min(seconds, pace)),)
        case Ask(reason):  # pragma: no branch - the last of them
            rest = pace if state.record.open_orders else HUMAN_POLL_S
            return state.remembering(asked=reason), (Rest(rest),)


def _pace(state: State, at: Moment) -> float:
    """Return how long to rest between looks: every second at first, for an unknown order then every three."""
    unknown = [order for order in state.record.open_orders if order.has_unknown_fate]
    oldest = min((order.sent_at for order in unknown if order.sent_at is not None), default=at.time)
    return UNKNOWN_POLL_S if unknown and at.time - oldest > SETTLING_S else POLL_S
