"""What is crossed with what: points, faults of the broker, come-backs, databases."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Any

from marketdata.crashpoints import POINTS

RESTART, TAKE_OVER, CONTINUE = "restart", "take-over", "stop-continue"
COME_BACKS: Mapping[str, str] = MappingProxyType(
    {
        RESTART: "killed there; another process is started after it",
        TAKE_OVER: (
            "killed there with a second worker standing by (PostgreSQL); "
            "stopped there, another refused, then killed (SQLite)"
        ),
        CONTINUE: "stopped there and let go on: after a pause (SQLite), after the take-over (PostgreSQL)",
    }
)
SQLITE, POSTGRES = "sqlite", "postgres"
DATABASES = (SQLITE, POSTGRES)

Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What the broker does wrong with the first order.

    Attributes:
        arms: Faults of the simulator with their options.
        rests: The order stays open for a while by itself, so that it comes to a cancel.
        loses: The reply is lost, so the broker's word is not what makes it known.
        shown_after: When what it hides is shown, in windows of absence after the order came; None:
            it hides nothing.
        is_brokers: Orders above what was wanted are the broker's doing: it booked one twice, or revived
            a cancelled one. They have to be told of.
        is_residual: Book, trades and position all stay stale beyond the window of absence: one extra
            order is possible, and has to be told of.

    """

    name: str
    arms: tuple[tuple[str, Options], ...] = ()
    rests: bool = False
    loses: bool = False
    shown_after: float | None = None
    is_brokers: bool = False
    is_residual: bool = False


_LOST: tuple[str, Options] = ("lost_reply", {})
_REST: tuple[str, Options] = ("rest", {})
_HIDDEN: tuple[str, Options] = ("hide", {})
_FROZEN: tuple[str, Options] = ("freeze_book", {"seconds": 3600})
_BAND = "Order price is outside the circuit limits"

FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("none"),
        Fault("lost-reply", (_LOST,), loses=True),
        Fault("lost-reply-resting", (_LOST, _REST), rests=True, loses=True),
        Fault("cut-before", (("cut_before", {}),), loses=True),
        Fault("5xx-booked", (("server_error", {"booked": True}),), loses=True),
        Fault("5xx-not-booked", (("server_error", {}),), loses=True),
        Fault("429", (("rate_limited", {}),)),
        Fault("html-200", (("html", {"operation": "place"}),), loses=True),
        Fault("late-reply", (("latency", {"operation": "place", "delay_s": 0.3, "booked": True}),)),
        Fault("hidden", (_LOST, _HIDDEN), loses=True, shown_after=0.4),
        Fault("hidden-long", (_LOST, _HIDDEN), loses=True, shown_after=2.0),
        Fault(
            "hidden-long-resting", (_LOST, _HIDDEN, _REST), rests=True, loses=True, shown_after=2.0,
            is_residual=True,
        ),
        Fault("frozen", (_LOST, _FROZEN), loses=True, shown_after=0.4),
        Fault("frozen-long", (_LOST, _FROZEN), loses=True, shown_after=2.0, is_residual=True),
        Fault("rejected", (("reject", {}),)),
        Fault("rejected-booked", (("reject", {"booked": True}),)),
        Fault("rejected-after-ack", (("reject_after_ack", {}),)),
        Fault("resting", (_REST,), rests=True),
        Fault("partial", (("partial", {"quantity": 3}),), rests=True),
        Fault("fill-on-cancel", (_REST, ("fill_on_cancel", {})), rests=True),
        Fault("fill-on-cancel-unsaid", (_REST, ("fill_on_cancel", {"refused": False})), rests=True),
        Fault("late-fill", (_REST, ("late_fill", {"after_s": 0.4})), rests=True, is_brokers=True),
        Fault("cancelled-by-exchange", (("cancelled_by_exchange", {}),)),
        Fault("stripped-tag", (("strip_tag", {}),)),
        Fault("stripped-tag-lost", (("strip_tag", {}), _LOST), loses=True),
        Fault("double-booking", (("double_booking", {}),), is_brokers=True),
    )
}  # fmt: skip

_CANCELS = ("CP10", "CP11", "CP12")


@dataclass(frozen=True, slots=True)
class Cell:
    """One crash: where, with what fault, how it is come back from, on which database.

    ``second`` is a point where whoever comes back is killed once more; empty: nowhere.
    """

    database: str
    point: str
    fault: str
    come_back: str
    second: str = ""

    @property
    def name(self) -> str:
        points = f"{self.point}+{self.second}" if self.second else self.point
        return f"{self.database}:{points}:{self.fault}:{self.come_back}"

    @property
    def needs_rest(self) -> bool:
        """Whether the first order has to stay open besides, for the point to be reached."""
        fault = FAULTS[self.fault]
        wanted = self.point in _CANCELS or self.second in _CANCELS or (self.point == "CP9" and fault.loses)
        return wanted and not fault.rests

    @classmethod
    def parse(cls, name: str) -> Cell:
        """Return the cell of a name. Raises ``ValueError`` when there is no such cell."""
        parts = name.split(":")
        if len(parts) != 4:
            raise ValueError(f"{name!r} is no cell: expected DATABASE:POINT:FAULT:COME-BACK")
        database, points, fault, come_back = parts
        point, _, second = points.partition("+")
        for value, known in (
            (database, DATABASES), (point, POINTS), (fault, FAULTS), (come_back, COME_BACKS), (second, ("", *POINTS)),
        ):  # fmt: skip
            if value not in known:
                raise ValueError(
                    f"{name!r}: there is no {value!r}: known are {', '.join(filter(None, known))}"
                )
        return cls(database, point, fault, come_back, second)


def singles(
    databases: Sequence[str], points: Sequence[str], faults: Sequence[str], come_backs: Sequence[str]
) -> list[Cell]:
    """Return every cell of one crash."""
    return [Cell(*axes) for axes in product(databases, points, faults, come_backs)]


def doubles(cells: Sequence[Cell], points: Sequence[str], count: int, rng: random.Random) -> list[Cell]:
    """Return ``count`` different cells with a second crash in the recovery."""
    found = list(_doubled(cells, points))
    return rng.sample(found, min(count, len(found)))


def _doubled(cells: Sequence[Cell], points: Sequence[str]) -> Iterator[Cell]:
    for cell in cells:
        if cell.come_back == RESTART:
            yield from (replace(cell, second=point) for point in points)
