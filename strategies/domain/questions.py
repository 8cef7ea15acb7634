"""What the monitor tells of prices besides breaches. Prices in units, times in UNIX seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from strategies.domain.freaks import Doubt
from strategies.domain.stops import Stop


@dataclass(frozen=True, slots=True)
class Dispute:
    """Feeds of one user that disagree on a price: units by account."""

    user_id: int
    symbol: str
    prices: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Doubted:
    """A price that a feed's user has stops on and that a quote should confirm. ``price`` in units."""

    user_id: int
    feed: int
    symbol: str
    price: int
    why: Doubt


@dataclass(frozen=True, slots=True)
class Closed:
    """A stop that a price touched after the close: nothing can be sold now. ``price`` in units."""

    stop: Stop
    price: int
    at: float
