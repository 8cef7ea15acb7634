"""The rule of a stop: a pure function of the rule, a price and what the rule remembers.

A rule that moves (trailing) or combines others remembers something between prices. It keeps
nothing itself: it is given its memory and returns the new one, so whoever watches the stop can
store it, and a decision can be repeated from what was stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from marketdata.domain.prices import to_rupees

NO_FLOOR = 0
"""A floor no accepted price reaches: prices are above zero."""

NO_CEILING = 1 << 62
"""A ceiling no price reaches."""

STOP_LOSS = "stop_loss"

Memory: TypeAlias = int | tuple["Memory", ...] | None
"""What a rule remembers: plain data that can be stored. None: nothing yet."""


class Judgement(NamedTuple):
    """What a rule says of one price; a tuple, because one is made between a price and its decision.

    Attributes:
        memory: What the rule remembers from now on.
        reason: Why the position is to be left ("stop_loss"); empty: it is not. Up to 16 characters.

    """

    memory: Memory = None
    reason: str = ""

    @property
    def is_hit(self) -> bool:
        return bool(self.reason)


class Bounds(NamedTuple):
    """The open interval of prices (units) that change nothing: neither a hit nor anything to remember."""

    floor: int = NO_FLOOR
    ceiling: int = NO_CEILING

    def __contains__(self, price: object) -> bool:
        return isinstance(price, int) and self.floor < price < self.ceiling

    def reached_by(self, price: int) -> int:
        """Return the bound that a price outside has reached."""
        return self.floor if price <= self.floor else self.ceiling


class Rule(Protocol):
    """When a position is to be left. Hashable and without state; the same input gives the same answer.

    At a bound and beyond, ``judge`` may hit or remember; inside it never does either. Bounds may
    be narrower than that, never wider: a price inside is not judged at all.
    """

    def judge(self, price: int, memory: Memory, /) -> Judgement:
        """Judge a price (units)."""

    def bounds(self, memory: Memory, /) -> Bounds:
        """Return the prices that need no judging while ``memory`` stands."""


@dataclass(frozen=True, slots=True)
class FixedStop:
    """A stop-loss that stays where it is. Equality is a breach.

    Attributes:
        price: Units, above zero.
        is_long: A bought position, left when the price falls to the stop; else a sold one.

    Raises:
        ValueError: A price that no market price can reach: the stop would never fire.

    """

    price: int
    is_long: bool

    def __post_init__(self) -> None:
        if not NO_FLOOR < self.price < NO_CEILING:
            raise ValueError(f"a stop at {to_rupees(self.price)} can never be reached: set a price above 0")

    def judge(self, price: int, memory: Memory = None, /) -> Judgement:
        is_hit = price <= self.price if self.is_long else price >= self.price
        return Judgement(memory, STOP_LOSS if is_hit else "")

    def bounds(self, _: Memory = None, /) -> Bounds:
        return Bounds(self.price) if self.is_long else Bounds(NO_FLOOR, self.price)
