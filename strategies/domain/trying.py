"""Whether another order may be tried for what an exit lacks, and which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from marketdata.domain.orders import RejectClass, RejectReason
from strategies.domain.exits import OrderState
from strategies.domain.record import ExitRecord, Moment, OrderRecord
from strategies.domain.sentences import refused_text

MAX_ATTEMPTS = 5
"""Orders for one part of an exit; after that a person decides."""

MAX_FIXES = 3
FIX_AFTER_S = 1.0
WAITS_S = (1.0, 2.0, 5.0)
"""How long to wait after each refusal that asks for patience; the last one from then on."""

REPRICE_S = (3.0, 3.0, 5.0, 10.0)
"""How long each try may rest unfilled before it is cancelled and priced anew."""


@dataclass(frozen=True, slots=True)
class Go:
    """Try an order: at the market, or after ``rested``/``refused`` tries at a limit."""

    slice_no: int
    try_no: int
    quantity: int
    rested: int = 0
    refused: int = 0

    @property
    def needs_quote(self) -> bool:
        return self.rested + self.refused > 0


@dataclass(frozen=True, slots=True)
class Later:
    """Too early to try again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Nothing more may be tried without a person."""

    reason: str


Verdict = Go | Later | Ask


def next_try(record: ExitRecord, at: Moment) -> Verdict:
    """Return whether an order may be tried for what is missing; something is."""
    for tries in _slices(record):
        if _is_broken(tries):
            return _again(record, tries, at)
    number = max((order.slice_no for order in record.orders), default=0) + 1
    return Go(number, 1, _at_most(record.missing, record.terms.largest_order))


def due_for_reprice(record: ExitRecord, at: Moment) -> OrderRecord | None:
    """Return an order that has rested long enough to be cancelled and tried at another price."""
    for order in record.open_orders:
        if order.state is not OrderState.LIVE or order.is_queued or order.sent_at is None:
            continue
        attempts = len(_counted(record, [o for o in record.orders if o.slice_no == order.slice_no]))
        patience = REPRICE_S[min(attempts, len(REPRICE_S)) - 1]
        # A clock that was set back must not make an order rest for as long again.
        if attempts < MAX_ATTEMPTS and not 0 <= at.time - order.sent_at < patience:
            return order
    return None


def _slices(record: ExitRecord) -> list[list[OrderRecord]]:
    ordered = sorted(record.orders, key=lambda order: order.slice_no)
    return [list(group) for _, group in groupby(ordered, key=lambda order: order.slice_no)]


def _is_broken(tries: Sequence[OrderRecord]) -> bool:
    """All its orders have ended and it is not filled."""
    filled = sum(order.filled for order in tries)
    return not any(order.is_open for order in tries) and filled < tries[0].quantity


def _counted(record: ExitRecord, tries: Sequence[OrderRecord]) -> list[OrderRecord]:
    """Return the attempts that count: sent, taken in, and since a person last said "again"."""
    uncounted = (OrderState.VOID, OrderState.PLANNED, OrderState.FILLED)
    before = {order.tag for order in record.orders[: record.resumed_after]}
    return [
        order
        for order in tries
        if order.state not in uncounted
        and order.reject_class is not RejectClass.WAIT
        and order.tag not in before
    ]


def _again(record: ExitRecord, tries: Sequence[OrderRecord], at: Moment) -> Verdict:
    counted, sent = _counted(record, tries), [o for o in tries if o.state is not OrderState.VOID]
    if len(counted) >= MAX_ATTEMPTS:
        last = counted[-1]
        return Ask(f"{len(counted)} orders did not finish the exit. Last: {last.message or last.state.value}")
    if sent and sent[-1].reject_class is RejectClass.WAIT:
        same = [order for order in sent if order.reject_class is RejectClass.WAIT]
        pause = WAITS_S[min(len(same), len(WAITS_S)) - 1]
    elif counted:
        if reason := _why_not(record, counted):
            return Ask(reason)
        pause = FIX_AFTER_S if counted[-1].state is OrderState.REJECTED else 0.0
    else:
        return _go(record, tries, counted)
    since = at.time - sent[-1].changed_at  # below zero: the clock was set back, nobody knows how long it was
    return Later(pause - since) if 0 <= since < pause else _go(record, tries, counted)


def _go(record: ExitRecord, tries: Sequence[OrderRecord], counted: Sequence[OrderRecord]) -> Go:
    lacks = tries[0].quantity - sum(order.filled for order in tries)
    frozen = [order.quantity for order in counted if order.reject_reason is RejectReason.FREEZE]
    lot = record.terms.lot_size
    smaller = max(min(frozen) // 2 // lot, 1) * lot if frozen else None
    quantity = _at_most(_at_most(min(lacks, record.missing), record.terms.largest_order), smaller)
    refused = sum(1 for order in counted if _was_mispriced(order))
    rested = sum(1 for order in counted if order.state is OrderState.CANCELLED and order.cancels)
    blocked = any(order.reject_reason is RejectReason.NO_MARKET for order in counted)
    return Go(tries[0].slice_no, len(tries) + 1, quantity, rested + blocked, refused)


def _why_not(record: ExitRecord, counted: Sequence[OrderRecord]) -> str:
    """Say why a person has to decide after these attempts; empty when another may be made."""
    last = counted[-1]
    if last.state is OrderState.REJECTED:
        fixes = [order for order in counted if order.reject_class is RejectClass.FIX]
        may_fix = last.reject_class is RejectClass.FIX and len(fixes) <= MAX_FIXES
        return "" if may_fix else refused_text(last.reject_reason, last.message)
    if last.state is OrderState.LOST:
        return _why_not_resend(record, last)
    if last.cancels or _was_mispriced(last) or last.state is OrderState.FILLED:
        return ""
    return (
        f"The exit order was cancelled at the broker, not by us, with {last.filled} of {last.quantity} filled. "
        "It is not sent again without you."
    )


def _why_not_resend(record: ExitRecord, last: OrderRecord) -> str:
    lost = [order for order in record.orders if order.state is OrderState.LOST]
    if record.terms.may_resend and len(lost) == 1 and not last.message.startswith(DAY_ENDED):
        return ""
    return (
        f"The reply to exit order {last.tag} was lost and the broker does not show it ({last.message}). "
        "It is not sent again without you."
    )


DAY_ENDED = "its day ended"


def _was_mispriced(order: OrderRecord) -> bool:
    return order.reject_reason is RejectReason.BAND


def _at_most(quantity: int, limit: int | None) -> int:
    return quantity if limit is None else min(quantity, limit)
