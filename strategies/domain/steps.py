"""What an exit does next: a pure function of its durable record.

Start-up, take-over and ordinary running ask the same question of the same rows, so a crash
needs no path of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

from marketdata.domain.orders import OrderSnapshot, OrderStatus, Outcome, RejectClass, WriteResult
from strategies.domain.exits import ORDER_TRANSITIONS, ExitState, OrderState

MAX_ATTEMPTS = 5
MAX_FIXES = 3
FIX_AFTER_S = 1.0
WAITS_S = (1.0, 2.0, 5.0)
"""How long to wait after each refusal that asks for patience; the last one from then on."""

PLAN_MAX_AGE_S = 2.0
RESTING_S = 10.0
TELL_AFTER_S = 2.0
"""How long an exit may get nowhere before a person is told."""


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One attempt as the journal has it. Times are UNIX seconds; ``changed_at`` is of its state."""

    id: int
    tag: str
    state: OrderState
    quantity: int
    filled: int
    planned_at: float
    changed_at: float = 0.0
    sent_at: float | None = None
    broker_order_id: str = ""
    reject_class: RejectClass | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """One exit with its attempts, oldest first."""

    id: int
    state: ExitState
    quantity: int
    orders: tuple[OrderRecord, ...] = ()

    @property
    def filled(self) -> int:
        return sum(order.filled for order in self.orders)

    @property
    def residual(self) -> int:
        return self.quantity - self.filled


@dataclass(frozen=True, slots=True)
class PlanOrder:
    """Read the account and plan an order for the residual."""

    quantity: int


@dataclass(frozen=True, slots=True)
class SendOrder:
    order: OrderRecord


@dataclass(frozen=True, slots=True)
class VoidOrder:
    """The plan is too old to send; it was never sent."""

    order: OrderRecord


@dataclass(frozen=True, slots=True)
class Watch:
    """Read the broker's book until these orders end. ``concern``: what to tell a person meanwhile."""

    orders: tuple[OrderRecord, ...]
    concern: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Too early to try again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The whole quantity is out."""


@dataclass(frozen=True, slots=True)
class AskHuman:
    """Nothing more can be done without a person."""

    reason: str


Step = PlanOrder | SendOrder | VoidOrder | Watch | Wait | Finish | AskHuman


def next_step(record: ExitRecord, now: float) -> Step:
    """Return what to do next for an exit that is not final."""
    open_orders = tuple(order for order in record.orders if not order.state.is_final)
    if open_orders:
        return _step_with_open(open_orders, now)
    if record.residual <= 0:
        return Finish()
    return _step_after_end(record, now)


def _step_with_open(orders: tuple[OrderRecord, ...], now: float) -> Step:
    for order in orders:
        if order.state is OrderState.PLANNED:
            # A plan from the future was made before the clock was set back: nobody knows its age.
            fresh = 0 <= now - order.planned_at <= PLAN_MAX_AGE_S
            return SendOrder(order) if fresh else VoidOrder(order)
    return Watch(orders, _concern(orders, now))


def _concern(orders: tuple[OrderRecord, ...], now: float) -> str:
    for order in orders:
        if order.state in (OrderState.SENDING, OrderState.UNKNOWN):
            return (
                f"The exit was sent, but the broker has not confirmed it. Do not close the position by hand "
                f"before looking for tag {order.tag} in the broker's order book."
            )
        if order.sent_at is not None and now - order.sent_at > RESTING_S:
            return f"The exit order {order.broker_order_id} is at the exchange, not filled yet."
    return ""


def _step_after_end(record: ExitRecord, now: float) -> Step:
    """Nothing is open and something is left: try again only where that is known to be right."""
    tries = [order for order in record.orders if order.state is not OrderState.VOID]
    if not tries:
        return PlanOrder(record.residual)
    last = tries[-1]
    counted = [order for order in tries if order.reject_class is not RejectClass.WAIT]
    if len(counted) >= MAX_ATTEMPTS:
        return AskHuman(
            f"{len(counted)} orders did not finish the exit. Last: {last.message or last.state.value}"
        )
    if last.state is OrderState.FILLED:
        return PlanOrder(record.residual)
    if last.state is OrderState.REJECTED:
        return _step_after_reject(record, tries, now)
    if last.state is OrderState.CANCELLED:
        return AskHuman(
            f"The exit order was cancelled at the broker with {last.filled} of {last.quantity} filled. "
            "It is not sent again without you."
        )
    return AskHuman(f"The exit order {last.tag} is {last.state.value}. It is not sent again without you.")


def _step_after_reject(record: ExitRecord, tries: list[OrderRecord], now: float) -> Step:
    last = tries[-1]
    same = sum(1 for order in tries if order.reject_class is last.reject_class)
    if last.reject_class is RejectClass.WAIT:
        pause = WAITS_S[min(same, len(WAITS_S)) - 1]
    elif last.reject_class is RejectClass.FIX and same <= MAX_FIXES:
        pause = FIX_AFTER_S
    else:
        return AskHuman(f"The broker refused the exit order: {last.message or 'no reason given'}")
    left = last.changed_at + pause - now
    return Wait(min(left, pause)) if left > 0 else PlanOrder(record.residual)


def hold_up(record: ExitRecord, now: float) -> str:
    """Say what keeps an exit's order from leaving, once it has gone on for two seconds; empty: nothing."""
    stuck = list(takewhile(_has_not_left, reversed(record.orders)))
    failed = [order for order in stuck if order.state is not OrderState.PLANNED]
    if not failed or abs(now - stuck[-1].planned_at) < TELL_AFTER_S:
        return ""
    return (
        f"The exit order cannot be sent: {failed[0].message or 'no connection'}. Trying again all the time."
    )


def failures(record: ExitRecord) -> int:
    """Return how many attempts in a row have not left this machine."""
    return sum(1 for order in takewhile(_has_not_left, reversed(record.orders)) if order.state.is_final)


def _has_not_left(order: OrderRecord) -> bool:
    """Not sent, or sent back at the door for now."""
    return order.state in (OrderState.PLANNED, OrderState.VOID) or order.reject_class is RejectClass.WAIT


def state_after_write(result: WriteResult) -> OrderState:
    """Return where one place request leaves its order."""
    return {
        Outcome.NOT_SENT: OrderState.VOID,
        Outcome.ACKED: OrderState.ACKED,
        Outcome.REJECTED: OrderState.REJECTED,
        Outcome.UNKNOWN: OrderState.UNKNOWN,
    }[result.outcome]


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


def find_in_book(order: OrderRecord, book: Iterable[OrderSnapshot]) -> OrderSnapshot | None:
    """Return the book's row of ``order``: by the broker's id when we have it, else by our tag."""
    for row in book:
        if (row.order_id and row.order_id == order.broker_order_id) or (row.tag and row.tag == order.tag):
            return row
    return None


def states_before(to: OrderState) -> list[OrderState]:
    """Return the states from which an order may become ``to``: the guard of its UPDATE."""
    return [state for state, after in ORDER_TRANSITIONS.items() if to in after]
