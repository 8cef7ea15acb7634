"""What a row of the benchmark found, and whether that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """The figures of all rounds."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(tuple(float(value) for value in values))

    @property
    def middle(self) -> float:
        return median(self.values)

    @property
    def text(self) -> str:
        low, high = shown(min(self.values)), shown(max(self.values))
        return shown(self.middle) if low == high else f"{shown(self.middle)} [{low} - {high}]"


@dataclass(frozen=True, slots=True)
class Bound:
    """How a figure is judged: at least, or at most, ``gate``; ``aim`` is what is wanted in the end."""

    gate: float
    aim: float | None = None
    is_most: bool = True

    def holds(self, value: float, limit: float | None) -> bool:
        if limit is None:
            return True
        return value <= limit if self.is_most else value >= limit

    @property
    def text(self) -> str:
        sign = "≤" if self.is_most else "≥"
        return f"{sign} {shown(self.gate)}" + ("" if self.aim is None else f" / {sign} {shown(self.aim)}")


@dataclass(slots=True)
class Row:
    """One figure: ours, what it is compared with, and the bound.

    Attributes:
        name: What ``--rows`` calls it; several figures may share one.
        compared: The other side of a ratio, in ``unit``; None: the figure stands alone.
        value: What is judged, of every round: the ratio, or ours.
        note: What was done, in one line: what was equal, and what each side had.

    """

    name: str
    what: str
    unit: str
    ours: Spread
    value: Spread
    compared: Spread | None = None
    bound: Bound | None = None
    note: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def is_missed(self) -> bool:
        return self.bound is not None and not self.bound.holds(self.value.middle, self.bound.gate)

    @property
    def verdict(self) -> str:
        if self.bound is None:
            return ""
        if self.is_missed:
            return "MISSED"
        return "aim" if self.bound.holds(self.value.middle, self.bound.aim) else "gate"


def ratio_row(
    name: str,
    what: str,
    unit: str,
    ours: Sequence[float],
    compared: Sequence[float],
    bound: Bound | None,
    note: str,
    **more: Any,
) -> Row:
    """Return a row that is judged by ours ÷ the other, round by round."""
    ratios = [a / b for a, b in zip(ours, compared, strict=True)]
    return Row(
        name, what, unit, Spread.of(ours), Spread.of(ratios), Spread.of(compared), bound, note, dict(more)
    )


def plain_row(
    name: str, what: str, unit: str, ours: Sequence[float], bound: Bound | None, note: str, **more: Any
) -> Row:
    """Return a row that is judged by itself."""
    return Row(name, what, unit, Spread.of(ours), Spread.of(ours), None, bound, note, dict(more))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def shown(value: float) -> str:
    """Return a number with three digits that matter."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
