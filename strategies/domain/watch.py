"""One user's stops on one instrument, its last prices, and the touch that is held."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from marketdata.domain.prices import to_rupees
from marketdata.domain.ticks import Tick
from strategies.domain.agreement import Agreement
from strategies.domain.freaks import RECENT, Doubt, is_freak, is_same_print, reference
from strategies.domain.stopbook import StopBook

Seen = tuple[Tick, int]
"""A price that could be acted on, and whose feed told it."""


@dataclass(slots=True)
class Hold:
    """A touch that waits. Prices in units, times in UNIX seconds.

    Attributes:
        feed: Whose tick it is.
        since: When it was held.
        compared: What it was found to be far from.
        after: The last price that could be acted on when it was held: its own, or the one before.
        is_disproved: A quote says that the price is elsewhere.

    """

    tick: Tick
    feed: int
    why: Doubt
    since: float
    compared: int | None = None
    after: Seen | None = None
    is_disproved: bool = False

    def told(self, now: float) -> dict[str, Any]:
        """Return what is kept of it as evidence; the price in rupees, as text."""
        told: dict[str, Any] = {"held_for": self.why.value, "held_s": round(now - self.since, 3)}
        if self.compared is not None:
            told["compared_with"] = str(to_rupees(self.compared))
        return told


@dataclass(slots=True)
class Watch:
    """What is watched of an instrument for one user.

    Attributes:
        percent: How far a print may be from the last prices to be acted on at once.
        recent: The last prices that could be acted on, oldest first.
        quoted: What a quote said last, units.
        dropped: The last print that was held and not acted on.
        quiet_feed: Whose prices inside the bounds may be told later, all together.

    """

    percent: int
    book: StopBook
    recent: deque[Seen] = field(default_factory=lambda: deque(maxlen=RECENT))
    quoted: int | None = None
    agreement: Agreement = field(default_factory=Agreement)
    held: Hold | None = None
    dropped: Tick | None = None
    quiet_feed: int | None = None

    def touches(self, price: int) -> bool:
        """Tell whether a price is at or beyond a bound of any stop."""
        return not self.book.floor < price < self.book.ceiling

    @property
    def latest(self) -> Tick | None:
        """The last price, unless it is in doubt."""
        latest = self.recent[-1][0] if self.recent else None
        in_doubt = latest is self.dropped or (self.held is not None and latest is self.held.tick)
        return None if in_doubt else latest

    def hold(self, tick: Tick, feed: int, why: Doubt, now: float, compared: int | None = None) -> Hold:
        """Return the hold for a tick."""
        return Hold(tick, feed, why, now, compared, self.recent[-1] if self.recent else None)

    def drop(self) -> None:
        """Let go of the held touch without acting on it."""
        self.dropped, self.held = self.held.tick if self.held else None, None

    def why_hold(self, tick: Tick, feed: int, now: float) -> Hold | None:
        """Return the hold for a tick that touches, is noted already, and is open to doubt."""
        before = [seen for seen, _ in self.recent][:-1]
        compared = reference(before, tick.received_at, self.quoted)
        if is_freak(tick.price, compared, self.percent):
            # After one that only a quote spoke against, with nothing between: the second print.
            is_second = bool(before) and before[-1] is self.dropped and not is_same_print(before[-1], tick)
            return None if is_second else self.hold(tick, feed, Doubt.FREAK, now, compared)
        if self.agreement.is_disputed(tick.received_at):
            return self.hold(tick, feed, Doubt.DISPUTED, now)
        return None

    def is_taken_back(self, hold: Hold) -> bool:
        """Tell whether its own feed has since been back inside the bounds, or a quote says it never left."""
        return hold.why is not Doubt.DISPUTED and (hold.is_disproved or self.has_been_back(hold))

    def has_been_back(self, hold: Hold) -> bool:
        """Tell whether its own feed has since been back inside the bounds."""
        for seen in reversed(self.recent):
            if seen is hold.after:
                return False
            if seen[1] == hold.feed and not self.touches(seen[0].price):
                return True
        return False
