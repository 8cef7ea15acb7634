"""What a person is told of an exit that does not simply go through: plain words, by its state alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from marketdata.domain.orders import RejectReason
from strategies.domain.exits import OrderState
from strategies.domain.record import ExitRecord, Moment, OrderRecord, State

TELL_AFTER_S = 2.0
"""How long an exit may get nowhere before a person is told."""

RESTING_S = 10.0
CANCELLING_S = 15.0

REASONS: Mapping[RejectReason, str] = {
    RejectReason.LOGIN: "The login has expired: log in again, then send the exit again.",
    RejectReason.IP: (
        "Orders are not accepted from this machine's internet address: register its static IP with the broker."
    ),
    RejectReason.MARGIN: "The account has not enough margin for this order.",
    RejectReason.AUTHORISATION: (
        "Selling these shares is not authorised at the depository: authorise it in the broker's app, then send again."
    ),
    RejectReason.HOLDINGS: (
        "The shares are not there to be sold: bought yesterday and not delivered yet, pledged, or sold already."
    ),
    RejectReason.BAND: "The price is outside the range in which the exchange takes orders now.",
    RejectReason.TICK: "The price is not a multiple of the contract's tick size.",
    RejectReason.LOT: "The quantity is not a whole number of lots.",
    RejectReason.FREEZE: "The quantity is above what the exchange takes in one order.",
    RejectReason.NO_MARKET: "The exchange takes no market orders in this contract now.",
    RejectReason.BAN: "The contract is banned, suspended or halted.",
    RejectReason.RATE: "Too many requests were sent within a second or a minute.",
    RejectReason.DAY_LIMIT: "The account's number of orders for today is used up.",
}


def refused_text(reason: RejectReason | None, message: str) -> str:
    """Say that an order was refused, why in plain words, and the broker's own words after them."""
    plain = REASONS.get(reason, "") if reason else ""
    own = f'The broker says: "{message}"' if message else "The broker gave no reason."
    return " ".join(part for part in ("The broker refused the exit order.", plain, own) if part)


def concern(state: State, at: Moment) -> str:
    """Return what a person has to know about an exit now; empty when all goes its way."""
    record = state.record
    candidates = (
        _too_much(record),
        _unknown(state),
        _lasting(state.memory.unread, at, "The broker cannot be read"),
        state.memory.asked,
        state.memory.hold,
        _lasting(state.memory.unsent, at, "The exit order cannot be sent"),
        _covered(state, at),
        *(_open_order(order, at) for order in record.open_orders),
    )
    return next(filter(None, candidates), "")


def _too_much(record: ExitRecord) -> str:
    if record.exposure <= record.quantity:
        return ""
    tags = ", ".join(order.tag for order in record.orders if order.exposure)
    verb = "are filled" if not record.open_orders else "may fill"
    return (
        f"OVERFILL: orders for {record.exposure} {verb}, {record.quantity} were to be exited (tags {tags}). "
        "What is still open of the later order is being cancelled; nothing is bought or sold back for you."
    )


def _unknown(state: State) -> str:
    for order in state.record.orders:
        if order.state is OrderState.UNKNOWN or (
            order.state is OrderState.SENDING and state.memory.is_unanswered
        ):
            return (
                "The exit was sent, but the broker has not confirmed it. Do not close the position by hand "
                f"before looking for tag {order.tag} in the broker's order book."
            )
    return ""


def _lasting(trouble: object, at: Moment, what: str) -> str:
    since, why = getattr(trouble, "since", at.elapsed), getattr(trouble, "why", "")
    return f"{what}: {why}. Trying again all the time." if at.elapsed - since >= TELL_AFTER_S else ""


def _covered(state: State, at: Moment) -> str:
    covered = state.memory.covered
    return covered.why if covered and at.elapsed - covered.since >= TELL_AFTER_S else ""


def covered_text(foreign: Collection[str]) -> str:
    """Say which orders leave no room for an exit: the trader's own, by the broker's ids, or only ours."""
    if not foreign:
        return "Other exit orders on their way cover the whole position: waiting for them."
    return (
        f"Your own open order {', '.join(foreign)} covers the position, so no exit was sent: both would sell it "
        "twice. Cancel that order and the exit leaves at once."
    )


def _open_order(order: OrderRecord, at: Moment) -> str:
    asked, sent = order.cancel_asked_at, order.sent_at
    if order.state is OrderState.CANCELLING and asked is not None and at.time - asked >= 0:
        first = sent if order.cancels > 1 and sent is not None else asked
        if at.time - first > CANCELLING_S:
            return (
                f"Order {order.broker_order_id} is being cancelled to be priced anew, and the broker has not "
                "confirmed that. No other order is sent before it has."
            )
        return ""
    is_there = order.state in (OrderState.ACKED, OrderState.LIVE)
    if order.is_queued and is_there:
        return (
            f"Locked at the circuit limit: nobody takes the other side. Order {order.broker_order_id or order.tag} "
            "waits in the exchange's queue at the limit price."
        )
    is_old = sent is not None and not 0 <= at.time - sent <= RESTING_S
    if order.state is OrderState.ACKED and is_old:
        return (
            f"The broker accepted the exit as order {order.broker_order_id}, but its order book does not show it. "
            f"Look for it, or for tag {order.tag}, in the broker's app. It is not sent again without you."
        )
    if is_there and is_old:
        return f"The exit order {order.broker_order_id} is at the exchange, not filled yet."
    return ""
