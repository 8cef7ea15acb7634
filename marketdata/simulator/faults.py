"""What goes wrong on demand: named faults that wait to be met.

A fault is armed with its parameters, a count or a duration, and who and what it concerns.
The surfaces ask for it by name at the point where it strikes. A new fault is one line in
``FAULTS`` and one question in a surface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marketdata.domain.clock import Clock


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault does, the operation it strikes unless told, and its parameters' defaults."""

    what: str
    operation: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


_REJECT = {"text": "Insufficient funds. Required margin is 75000.00 but available margin is 0.00."}
FAULTS: Mapping[str, Kind] = {
    "refuse": Kind("close each new connection at once, before a byte (operation: feed, api)", "feed"),
    "forbid": Kind("answer a feed's handshake with an error although its token lives", "feed", {"status": 403}),
    "turn_away": Kind(
        "accept a feed's handshake, then end it: with the broker's own code, or cut when there is none",
        "feed", {"code": 0},
    ),
    "silence": Kind("keep feed sockets open and send nothing", "feed"),
    "mute": Kind("send no prices, of one symbol if told, while all else goes on", "feed", {"symbol": ""}),
    "deaf": Kind("pass over the subscription of a symbol without a word", "feed", {"symbol": ""}),
    "latency": Kind(
        "answer a request later: held up before it does anything, or after", None, {"delay_s": 1.0, "booked": False}
    ),
    "cut_before": Kind("cut the connection before the request does anything", "place"),
    "lost_reply": Kind("do what was asked, then cut the connection instead of answering", "place"),
    "server_error": Kind("answer 5xx, before or after doing it", "place", {"status": 502, "booked": False}),
    "rate_limited": Kind("answer 429", "place"),
    "html": Kind("answer with a web page", None, {"status": 200}),
    "reject": Kind(
        "refuse an order, with or without a rejected row in the book", "place",
        {**_REJECT, "error_type": "OrderException", "status": 400, "booked": False},
    ),
    "reject_after_ack": Kind("accept an order, then reject it in the book", "place", _REJECT),
    "rest": Kind("accept an order and never fill it", "place"),
    "partial": Kind("fill part of an order, then let it rest", "place", {"quantity": 1}),
    "cancelled_by_exchange": Kind(
        "accept an order, fill part of it if told, then take it out for its price", "place",
        {"text": "17070 : The Price is out of the LPP range", "filled": 0},
    ),
    "price_protection": Kind(
        "refuse limit prices far from the last one and speak of circuit limits; booked: with a rejected row",
        "place", {"percent": 40, "rupees": 20, "booked": False},
    ),
    "market_blocked": Kind("refuse market orders, of one symbol if told", "place", {"symbol": ""}),
    "strip_tag": Kind("book an order with the first characters of its tag only", "place", {"keep": 0}),
    "double_booking": Kind("book an order twice, and tell of the first", "place"),
    "hide": Kind("keep a booked order out of the order book and the trades for a while", "place", {"hide_s": 10.0}),
    "odd_status": Kind("show a status word that nobody knows, until show_status", "place", {"word": "PONDERING"}),
    "freeze_book": Kind(
        "answer orders, trades, positions and holdings as they were when it was armed", None, {}
    ),
    "fill_on_cancel": Kind(
        "fill an order that is to be cancelled, then answer the cancel: refused, or as if done", "cancel",
        {"refused": True},
    ),
    "late_fill": Kind("cancel an order, and fill it after all a while later", "cancel", {"after_s": 5.0}),
}  # fmt: skip


class UnknownFault(ValueError):
    """No fault of that name, or not that parameter."""


@dataclass(slots=True)
class Fault:
    """One armed fault. ``times`` strikes are left, or it lasts until ``ends_at`` (monotonic)."""

    name: str
    account: str | None
    operation: str | None
    parameters: dict[str, Any]
    times: int | None
    ends_at: float | None
    broker: str | None = None

    def concerns(self, account: str | None, operation: str | None, broker: str | None) -> bool:
        return (
            self.account in (None, account)
            and self.operation in (None, operation)
            and self.broker in (None, broker)
        )


class Faults:
    """The faults that are armed, oldest first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._armed: list[Fault] = []

    def arm(
        self,
        name: str,
        *,
        account: str | None = None,
        operation: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        broker: str | None = None,
        **parameters: Any,
    ) -> Fault:
        """Arm a fault for ``times`` strikes (1 unless told) or for ``seconds``.

        Args:
            name: One of ``FAULTS``.
            account: Only this client id; None: all.
            operation: Only this kind of request; None: the fault's own.
            times: How often it strikes.
            seconds: How long it lasts, however often it strikes.
            broker: Only on this broker's surface; None: all.
            parameters: The fault's own; see ``FAULTS``.

        Raises:
            UnknownFault: Not a name or parameter of ``FAULTS``.

        """
        kind = _kind(name, parameters)
        if times is None and seconds is None:
            times = 1
        ends_at = None if seconds is None else self._clock.monotonic() + seconds
        own = {**kind.parameters, **parameters}
        fault = Fault(name, account, operation or kind.operation, own, times, ends_at, broker)
        self._armed.append(fault)
        return fault

    def take(
        self, name: str, account: str | None = None, operation: str | None = None, broker: str | None = None
    ) -> Fault | None:
        """Return the oldest armed fault that concerns this, used up by one strike."""
        fault = self.active(name, account, operation, broker)
        if fault is not None and fault.times is not None:
            fault.times -= 1
        return fault

    def active(
        self, name: str, account: str | None = None, operation: str | None = None, broker: str | None = None
    ) -> Fault | None:
        """Return the oldest armed fault that concerns this, and leave it as it is."""
        self._forget_spent()
        return next(
            (f for f in self._armed if f.name == name and f.concerns(account, operation, broker)), None
        )

    def clear(self, name: str | None = None, account: str | None = None) -> None:
        """Disarm one kind of fault, or all; those of one account, or all."""
        self._armed = [
            fault
            for fault in self._armed
            if (name is not None and fault.name != name) or (account is not None and fault.account != account)
        ]

    def armed(self) -> list[Fault]:
        self._forget_spent()
        return list(self._armed)

    def _forget_spent(self) -> None:
        if self._armed:
            now = self._clock.monotonic()
            self._armed = [
                fault
                for fault in self._armed
                if (fault.times is None or fault.times > 0) and (fault.ends_at is None or now < fault.ends_at)
            ]


def _kind(name: str, parameters: Mapping[str, Any]) -> Kind:
    kind = FAULTS.get(name)
    if kind is None:
        raise UnknownFault(f"unknown fault {name!r}: there are {', '.join(FAULTS)}")
    if unknown := parameters.keys() - kind.parameters.keys():
        known = ", ".join(kind.parameters) or "none"
        raise UnknownFault(f"fault {name!r} has no parameter {', '.join(sorted(unknown))}: it has {known}")
    return kind
