"""Why a strategy exited: from the tick to the last fill, step by step, in plain sentences.

Everything is made from what was stored as it happened; nothing is asked or guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from strategies.live import words
from strategies.models import Exit, ExitOrder, StrategyEvent
from strategies.reporting import plain
from strategies.templatetags.live import inr

_IST = ZoneInfo("Asia/Kolkata")
_POINT = Decimal("0.0001")
_HUNDREDTH = Decimal("0.01")
Detail = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. ``after_s``: seconds since the step before, None for the first."""

    at: datetime
    title: str
    text: str = ""
    tone: str = words.QUIET
    after_s: float | None = None

    @property
    def time(self) -> str:
        """The time of day in India, to the millisecond."""
        return clock_text(self.at)

    @property
    def after(self) -> str:
        """How long after the step before, as people say it."""
        return "" if self.after_s is None else duration_text(self.after_s)


@dataclass(frozen=True, slots=True)
class Slippage:
    """How far from the stop an exit was filled; above zero is worse than the stop. Exact but for ``points``."""

    stop: Decimal
    filled: int
    average: Decimal
    points: Decimal
    percent: Decimal
    rupees: Decimal
    is_sale: bool

    @property
    def text(self) -> str:
        """One sentence, with the side on which it lies."""
        done, below = ("Sold", "below") if self.is_sale else ("Bought back", "above")
        above = "above" if self.is_sale else "below"
        start = f"{done} {self.filled} at {_rupees(self.average)} on average: "
        if not self.rupees:
            return f"{start}exactly at the stop of {_rupees(self.stop)}."
        side, verdict = (below, "worse") if self.rupees > 0 else (above, "better")
        return (
            f"{start}{_rupees(abs(self.points))} points ({abs(self.percent)} %) {side} the stop of "
            f"{_rupees(self.stop)}, ₹ {_rupees(abs(self.rupees))} {verdict} in all."
        )


def steps_of(row: Exit, orders: Sequence[ExitOrder], events: Iterable[StrategyEvent]) -> list[Step]:
    """Return what happened in an exit, oldest first.

    Args:
        row: The exit.
        orders: Its orders.
        events: Those of its strategy that belong to it.

    """
    told = [*_beginning(row), *_permits(orders)]
    told += [_event_step(event, row) for event in events if event.kind not in ("sl_triggered", "exit_asked")]
    told.sort(key=lambda step: step.at)
    first, rest = told[:1], pairwise(told)
    return first + [_timed(step, (step.at - before.at).total_seconds()) for before, step in rest]


def slippage_of(row: Exit, orders: Sequence[ExitOrder]) -> Slippage | None:
    """Return how the fills compare with the stop; None without a stop, a fill or its price."""
    filled = [order for order in orders if order.filled_quantity]
    if "stop" not in row.evidence or not filled or any(order.average_price is None for order in filled):
        return None
    stop, is_sale = Decimal(row.evidence["stop"]), filled[0].side == "SELL"
    count = sum(order.filled_quantity for order in filled)
    value = sum((Decimal(order.average_price or 0) * order.filled_quantity for order in filled), Decimal(0))
    rupees = (stop * count - value) if is_sale else (value - stop * count)
    points = (rupees / count).quantize(_POINT)
    percent = (rupees / count / stop * 100).quantize(_HUNDREDTH)
    return Slippage(stop, count, (value / count).quantize(_POINT), points, percent, rupees, is_sale)


def evidence_of(row: Exit) -> list[tuple[str, str]]:
    """Return what an exit was decided on, by name: the price, its source, and what it was judged by."""
    said, gate = row.evidence, row.evidence.get("gate") or {}
    found = (
        ("Source", said.get("source")),
        ("Price", _price(said["price"]) if said.get("price") else None),
        ("Stop", _price(said["stop"]) if said.get("stop") else None),
        ("Account", str(row.strategy.account)),
        ("Judged as", gate.get("decision")),
        ("Session", gate.get("phase")),
        ("Age on arrival", None if gate.get("age_s") is None else f"{gate['age_s']} s"),
        ("Held because of", said.get("held_for")),
        ("Held for", None if said.get("held_s") is None else f"{said['held_s']} s"),
        ("Compared with", _price(said["compared_with"]) if said.get("compared_with") else None),
    )
    return [(name, str(value)) for name, value in found if value]


def events_by_exit(
    exits: Sequence[Exit], orders: Iterable[ExitOrder], events: Iterable[StrategyEvent]
) -> dict[int, list[StrategyEvent]]:
    """Sort a strategy's events to its exits: by the order's tag, else by the time. ``exits``: oldest first."""
    of_tag = {order.tag: order.exit_id for order in orders}
    found: dict[int, list[StrategyEvent]] = {row.pk: [] for row in exits}
    for event in events:
        begun = [row.pk for row in exits if row.created_at <= event.at]
        owner = of_tag.get(str(event.detail.get("tag", "")), begun[-1] if begun else None)
        if owner is not None and event.kind not in _NOT_OF_AN_EXIT:
            found[owner].append(event)
    return found


def clock_text(moment: datetime) -> str:
    """Return a time of day in India to the millisecond: ``14:03:07.041``."""
    return f"{moment.astimezone(_IST):%H:%M:%S.%f}"[:-3]


def duration_text(seconds: float) -> str:
    """Return a duration as people say it: ``0.4 ms``, ``312 ms``, ``2.51 s``."""
    if abs(seconds) >= 1:
        return f"{seconds:.2f} s"
    shown = f"{seconds * 1000:.1f}" if abs(seconds) < 0.01 else f"{seconds * 1000:.0f}"
    return f"{shown} ms"


# --- the beginning ------------------------------------------------------------------------------


def _beginning(row: Exit) -> Iterator[Step]:
    said = row.evidence
    if said.get("received_at") is None or said.get("decided_at") is None:
        asked_by = f" by {said['by']}" if said.get("by") else ""
        yield Step(row.created_at, "Exit asked for", f"Asked for{asked_by}; no stop was touched.")
        return
    yield Step(_moment(said["received_at"]), *_arrival(row))
    yield Step(_moment(said["decided_at"]), "Decided", _decision(row), words.BUSY)
    yield Step(row.created_at, "Written down", "The exit is stored: from here on it survives a crash.")


def _arrival(row: Exit) -> tuple[str, str]:
    said, symbol = row.evidence, row.strategy.symbol
    what = "quote" if said.get("source") == "quote" else "tick"
    asked = ", which was asked for," if what == "quote" else ""
    stamp = said.get("exchange_time")
    traded = f" The exchange's time on it is {_moment(stamp).astimezone(_IST):%H:%M:%S} IST." if stamp else ""
    return (
        f"{what.capitalize()} received",
        f"A {what}{asked} shows {symbol} at {_price(said.get('price'))}.{traded}",
    )


def _decision(row: Exit) -> str:
    said = row.evidence
    price, stop = Decimal(said.get("price") or 0), Decimal(said.get("stop") or 0)
    beyond = "is at" if price == stop else "is below" if price < stop else "is above"
    text = (
        f"{_price(said.get('price'))} {beyond} the stop of {_price(said.get('stop'))}: the stop is touched."
    )
    if said.get("held_s"):
        text += f" It was held for {duration_text(float(said['held_s']))} first, for the price was in doubt."
    return text


# --- orders -------------------------------------------------------------------------------------


def _permits(orders: Sequence[ExitOrder]) -> Iterator[Step]:
    for order in orders:
        if order.sent_at is not None:
            yield Step(order.sent_at, "Permit", f"Order {order.tag} may be sent: once, and never again.")


def _event_step(event: StrategyEvent, row: Exit) -> Step:
    said = words.event_words(event.kind, event.detail)
    title, sentence = _TOLD.get(event.kind, (said.text, None))
    return Step(event.at, title, sentence(event.detail, row) if sentence else "", said.tone)


def _planned(said: Detail, row: Exit) -> str:
    at = f"with a limit of {_price(said['price'])}" if said.get("price") else "at the market, price protected"
    what = (
        f"{said.get('side', '')} {said.get('quantity', '')} {row.strategy.symbol} {said.get('product', '')}"
    )
    return f"Order {said.get('tag')}: {what}, {at}. Nothing has been sent."


def _requested(said: Detail, _: Exit) -> str:
    return f"The permit is stored, and the request for {said.get('tag')} leaves for the broker."


def _accepted(said: Detail, _: Exit) -> str:
    return f"The broker's order id is {said['order_id']}." if said.get("order_id") else "No order id yet."


def _filled(said: Detail, _: Exit) -> str:
    count, price = said.get("filled") or 0, said.get("average_price")
    of = f"{count} of {said.get('quantity', '')}"
    return (
        f"{of} filled at {_price(price)} on average."
        if price
        else f"{of} filled; the price is not known yet."
    )


def _live(said: Detail, row: Exit) -> str:
    return _filled(said, row) if said.get("filled") else _accepted(said, row)


def _in_their_words(said: Detail, _: Exit) -> str:
    text = said.get("message") or said.get("text") or ""
    return f"The broker's words: {text}" if said.get("message") else str(text)


_TOLD: Mapping[str, tuple[str, Callable[[Detail, Exit], str] | None]] = {
    "order_planned": ("Order prepared", _planned),
    "order_sending": ("Request", _requested),
    "order_acked": ("Accepted by the broker", _accepted),
    "order_live": ("At the exchange", _live),
    "order_filled": ("Filled", _filled),
    "order_rejected": ("Rejected", _in_their_words),
    "order_cancelled": ("Cancelled", _filled),
    "order_unknown": ("No answer: the order may be live", _in_their_words),
    "order_void": ("Never sent", _in_their_words),
    "order_lost": ("Not found at the broker", _in_their_words),
    "needs_human": ("Needs you", _in_their_words),
    "exit_done": ("Done", _in_their_words),
    "exit_aborted": ("Ended without a fill", _in_their_words),
}
_NOT_OF_AN_EXIT = frozenset({"created", "changed", "started", "stopped", "stop_moved"})


# --- inside -------------------------------------------------------------------------------------


def _timed(step: Step, after_s: float) -> Step:
    return Step(step.at, step.title, step.text, step.tone, after_s)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _price(text: Any) -> str:
    return inr(plain(Decimal(text))) if text else "an unknown price"


def _rupees(value: Decimal) -> str:
    return inr(plain(value))
