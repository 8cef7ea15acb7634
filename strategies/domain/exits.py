"""The legal life of an exit and of each of its orders, as data.

An *exit* is the intent: one for each arming of a strategy. An *order* is one attempt:
one request, sent at most once. Nothing returns from SENDING or UNKNOWN to PLANNED, so an
attempt is zero or one orders at the broker, whatever is killed when.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ExitState(StrEnum):
    TRIGGERED = "triggered"
    WORKING = "working"
    NEEDS_HUMAN = "needs_human"
    DONE = "done"
    ABORTED = "aborted"

    @property
    def is_final(self) -> bool:
        return self in (ExitState.DONE, ExitState.ABORTED)


class OrderState(StrEnum):
    PLANNED = "planned"
    SENDING = "sending"
    UNKNOWN = "unknown"
    ACKED = "acked"
    LIVE = "live"
    CANCELLING = "cancelling"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    VOID = "void"  # proven never sent
    LOST = "lost"  # strongly evidenced absent; watched to the end of the day

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_FINAL = frozenset(
    {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.VOID, OrderState.LOST}
)

_O = OrderState
_BOOKED = frozenset({_O.LIVE, _O.CANCELLING, _O.FILLED, _O.CANCELLED, _O.REJECTED})
"""What an order may become when the broker's book shows it: one shown live may be cancelled in the same step."""

ORDER_TRANSITIONS: Mapping[OrderState, frozenset[OrderState]] = {
    _O.PLANNED: frozenset({_O.SENDING, _O.VOID}),
    # VOID only by the process that tried and knows that no byte left.
    _O.SENDING: _BOOKED | {_O.VOID, _O.UNKNOWN, _O.ACKED, _O.LOST},
    _O.UNKNOWN: _BOOKED | {_O.ACKED, _O.LOST},
    # A day that ends takes the book with it: what was open then is looked for no more.
    _O.ACKED: _BOOKED | {_O.LOST},
    _O.LIVE: _BOOKED - {_O.LIVE} | {_O.LOST},
    # As long as the book still shows it live, the cancel is asked for again.
    _O.CANCELLING: _BOOKED - {_O.LIVE, _O.CANCELLING} | {_O.LOST},
    # What ended may still turn out otherwise: a fill that crossed the cancel on the wire, an
    # order that was called refused or absent and is there after all. Nothing cancelled comes
    # back to life, though: a book that says so is an old one.
    _O.CANCELLED: frozenset({_O.FILLED}),
    _O.REJECTED: _BOOKED - {_O.REJECTED},
    _O.LOST: _BOOKED,
    _O.FILLED: frozenset(),
    _O.VOID: frozenset(),
}

_E = ExitState
EXIT_TRANSITIONS: Mapping[ExitState, frozenset[ExitState]] = {
    _E.TRIGGERED: frozenset({_E.WORKING, _E.NEEDS_HUMAN, _E.ABORTED, _E.DONE}),
    _E.WORKING: frozenset({_E.NEEDS_HUMAN, _E.DONE, _E.ABORTED}),
    _E.NEEDS_HUMAN: frozenset({_E.WORKING, _E.DONE, _E.ABORTED}),
    _E.DONE: frozenset(),
    _E.ABORTED: frozenset(),
}
