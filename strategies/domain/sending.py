"""The one request of an order: permitted, sent, and what its end says."""

from __future__ import annotations

from dataclasses import replace

from marketdata.domain.orders import Outcome, WriteResult
from strategies.domain.events import Command, ReadAccount, Rest, SendOrder
from strategies.domain.exits import OrderState
from strategies.domain.folding import moved
from strategies.domain.record import Moment, OrderRecord, State, again

PLAN_MAX_AGE_S = 2.0
RETRY_S = 0.25
RETRY_MAX_S = 5.0
AT_ONCE = Rest(0.0)

Step = tuple[State, tuple[Command, ...]]


def is_fresh(order: OrderRecord, at: Moment) -> bool:
    """Tell whether a plan may still be sent."""
    # One from the future was made before the clock was set back: nobody knows its age.
    return 0 <= at.time - order.planned_at <= PLAN_MAX_AGE_S


def opened(state: State, at: Moment, tag: str) -> Step:
    """Permit a planned order, once ever: whoever commits this sends it."""
    order = state.record.order(tag)
    if order is None or order.state is not OrderState.PLANNED or not is_fresh(order, at):
        return state, (AT_ONCE,)
    sending = replace(moved(order, OrderState.SENDING, at), sent_at=at.time)
    return state.with_order(sending), (SendOrder(tag),)


def not_sent(state: State, at: Moment, why: str) -> Step:
    """Rest before the next try of an order that did not leave this machine."""
    trouble = again(state.memory.unsent, at, why)
    pause = min(RETRY_S * 2 ** min(trouble.count - 1, 10), RETRY_MAX_S)
    return state.remembering(unsent=trouble), (Rest(pause),)


def written(state: State, at: Moment, tag: str, result: WriteResult) -> Step:
    """Take the outcome of the one place request."""
    state = state.remembering(is_unanswered=False)
    order = state.record.order(tag)
    if order is None:
        return state, (AT_ONCE,)
    if order.state is not OrderState.SENDING:
        return _late_reply(state, order, result), (AT_ONCE,)
    if result.outcome is Outcome.NOT_SENT:
        void = moved(order, OrderState.VOID, at, message=result.message)
        return not_sent(state.with_order(void), at, result.message)
    state = state.remembering(unsent=None)
    if (
        result.outcome is Outcome.REJECTED
    ):  # believed once the book agrees: it may hold the order all the same
        refusals = {**state.memory.refusals, tag: (result, at.elapsed)}
        return state.remembering(refusals=refusals), (ReadAccount(trades=True),)
    is_acked = result.outcome is Outcome.ACKED
    known = OrderState.ACKED if is_acked else OrderState.UNKNOWN
    after = moved(order, known, at, broker_order_id=result.order_id, message=result.message)
    return state.with_order(after), (ReadAccount(trades=not is_acked),)


def _late_reply(state: State, order: OrderRecord, result: WriteResult) -> State:
    """The book, or a take-over, was quicker than the reply; the broker's id is still worth keeping.

    It proves that an order of unknown fate is there, whatever the book does not show.
    """
    if order.broker_order_id or not result.order_id:
        return state
    known = replace(order, broker_order_id=result.order_id)
    if order.state is OrderState.UNKNOWN:
        known = replace(known, state=OrderState.ACKED)
    return state.with_order(known)
