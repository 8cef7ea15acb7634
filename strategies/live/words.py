"""What a state means, in words for the person whose money it is.

Wording is careful: "sold" only after a fill, "not confirmed" while nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from marketdata.models import Listener
from strategies.domain.exits import ExitState, OrderState
from strategies.models import Exit, ExitOrder, Strategy
from strategies.reporting import plain, sentence
from strategies.switches import why_not_trade

QUIET, GOOD, BUSY, BAD = "quiet", "good", "busy", "bad"

_ORDER = {
    "planned": "Exit order being prepared",
    "sending": "Sending the exit order",
    "unknown": "Order sent, no answer: it may be live",
    "acked": "Order accepted, not filled yet",
    "live": "Order at the exchange, not filled yet",
    "cancelling": "Cancelling the order",
    "filled": "Order filled",
    "cancelled": "Order cancelled",
    "rejected": "Order rejected",
    "void": "Order never sent",
    "lost": "Order not found at the broker",
}
_EVENTS = {
    "created": "Entered, not started",
    "changed": "Changed",
    "started": "Started: the stop is armed",
    "stopped": "Stopped: the stop is off",
    "sl_triggered": "Stop touched",
    "order_doubted": "The order may be at the broker",
    "exit_asked": "Exit asked for",
    "retry_asked": "Asked to send the exit again",
    "exit_abandoned": "Exit ended by you",
    "order_planned": "Exit order prepared",
    "exit_done": "Exit finished",
    "exit_aborted": "Exit ended without an order",
    "needs_human": "Needs you",
    "stop_moved": "Stop moved",
    "closed": "Closed",
    "connected": "Feed connected",
    "disconnected": "Feed disconnected",
    "failed": "Feed trouble",
    "login_needed": "Log in at the broker again",
    "logged_in": "Logged in at the broker",
    "start_asked": "Listener to be started",
    "stop_asked": "Listener to be stopped: its stops are not watched",
    "restart_asked": "Listener to be restarted",
    "limited": "More instruments wanted than the feed carries: some are not watched",
    "left_out": "An instrument cannot be subscribed",
    "silent": "The feed brings nothing of an instrument",
    "blind": "The feed is down and quotes fail: no stop is checked",
    "clock": "The feed's times and this machine's clock disagree",
    "feeds_disagree": "The feeds disagree on the price",
    "price_outside_band": "A price outside the day's limits was not believed",
    "price_freak": "A single wild price was not believed",
    "expired": "The contract has expired: the stop is off",
    "expires_next": "The contract expires on the next trading day",
    "expires_now": "The contract expires within the half hour",
    "suspended": "Suspended: the stop is off until you start it again",
    "crossed_unseen": "The price went through the stop and back while it could not be seen",
    "closed_beyond": "The market closed beyond the stop: the next session decides",
}
_DETAILS = ("side", "quantity", "filled", "price", "stop", "stop_loss", "from", "to", "average_price", "tag")
_BAD_EVENTS = frozenset(
    {
        "needs_human",
        "exit_aborted",
        "order_unknown",
        "order_rejected",
        "order_lost",
        "login_needed",
        "limited",
        "left_out",
        "silent",
        "blind",
        "clock",
        "crossed_unseen",
        "expired",
        "suspended",
    }
)
_BUSY_EVENTS = frozenset(
    {
        "sl_triggered",
        "disconnected",
        "failed",
        "stop_asked",
        "exit_asked",
        "feeds_disagree",
        "price_outside_band",
        "price_freak",
        "closed_beyond",
        "expires_next",
        "expires_now",
    }
)
_GOOD_EVENTS = frozenset({"exit_done", "order_filled", "connected", "started", "logged_in"})


@dataclass(frozen=True, slots=True)
class Words:
    """A text, how it is meant (``quiet good busy bad``), and what else a person has to know."""

    text: str
    tone: str = QUIET
    detail: str = ""


RETRY = (
    "Look at the broker's order book first. An order whose fate is not known is given up by this, unless the broker "
    "shows a sign of it: if it is alive all the same, the position is sold twice."
)
ARMING = (
    "From now on the stop is watched. The moment a price touches it, an order to close the whole position goes to the "
    "broker: that is real money."
)
ABANDON = (
    "No more orders are sent for this exit, and what is still open at the broker is cancelled. "
    "The position stays as it is, without a stop, until you close it or start the strategy again."
)


def strategy_words(strategy: Strategy, exit_: Exit | None, feed_trouble: str) -> Words:
    """Say how a strategy stands.

    Args:
        strategy: The row.
        exit_: The exit of its present arming, if any, with its orders.
        feed_trouble: Why its price is not being watched; empty when it is.

    """
    if strategy.status == Strategy.Status.ACTIVE:
        return _active(strategy, feed_trouble)
    if strategy.status in (Strategy.Status.EXITING, Strategy.Status.CLOSED) and exit_ is not None:
        return exit_words(exit_)
    if strategy.status == Strategy.Status.SUSPENDED:
        return Words("Suspended: the stop is off until you start it", BAD)
    if strategy.status == Strategy.Status.DRAFT:
        return Words("Not started: the stop is off")
    return Words("Stopped: the stop is off" if strategy.status == Strategy.Status.CLOSED else "Exiting")


def _active(strategy: Strategy, feed_trouble: str) -> Words:
    if strategy.position == Strategy.Position.NONE:
        return Words("Watched only: no position, so nothing is sold")
    if feed_trouble:
        return Words("Armed, not watched", BAD, _capital(feed_trouble))
    if refusal := why_not_trade(strategy):
        return Words("Armed, sends no order", BUSY, to_come(refusal.text))
    return Words("Armed", GOOD)


def to_come(refusal: str) -> str:
    """Turn why no order was sent into why none will be."""
    return _capital(refusal.replace("was sent", "will be sent"))


def exit_words(exit_: Exit) -> Words:
    """Say how an exit stands, with the sentence that other programs are told too."""
    orders = sorted(exit_.orders.all(), key=lambda order: order.pk)
    said, tone = sentence(exit_, orders), _exit_tone(exit_, orders)
    if exit_.state == ExitState.NEEDS_HUMAN:
        return Words("Needs you", tone, _capital(said))
    return Words(_capital(said.removesuffix(".")), tone)


def _exit_tone(exit_: Exit, orders: list[ExitOrder]) -> str:
    if exit_.state in (ExitState.NEEDS_HUMAN, ExitState.ABORTED):
        return BAD
    if exit_.state == ExitState.DONE:
        return GOOD
    return BAD if orders and orders[-1].state in (OrderState.UNKNOWN, OrderState.REJECTED) else BUSY


def listener_words(listener: Listener | None, *, wanted: bool) -> Words:
    """Say how an account's feed stands."""
    if not wanted:
        return Words("Stopped")
    if listener is None or listener.reported_at is None:
        return Words("Waiting for the listeners to start", BUSY)
    tones = {"connected": GOOD, "connecting": BUSY, "login_needed": BAD}
    return Words(listener.get_state_display(), tones.get(listener.state, QUIET))


def event_words(kind: str, detail: Mapping[str, Any]) -> Words:
    """Say what happened."""
    text = _EVENTS.get(kind) or _ORDER.get(kind.removeprefix("order_")) or kind.replace("_", " ").capitalize()
    return Words(text + _because(detail_words(detail)), _event_tone(kind))


def detail_words(detail: Mapping[str, Any]) -> str:
    """Put an event's particulars into one short line; times and ids stay in the record."""
    for key in ("text", "message", "error", "reason"):
        if detail.get(key):
            return str(detail[key])
    return ", ".join(f"{key.replace('_', ' ')} {_shown(detail[key])}" for key in _DETAILS if detail.get(key))


def _shown(value: Any) -> str:
    """Return a value as people write it: a price without the empty decimals of its column."""
    if not isinstance(value, str) or "." not in value:
        return str(value)
    try:
        return plain(Decimal(value)) or ""
    except InvalidOperation:
        return value


def _event_tone(kind: str) -> str:
    for tone, kinds in ((BAD, _BAD_EVENTS), (BUSY, _BUSY_EVENTS), (GOOD, _GOOD_EVENTS)):
        if kind in kinds:
            return tone
    return QUIET


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
