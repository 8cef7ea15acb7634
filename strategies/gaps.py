"""Stops that a price went through and came back from while nobody could see it: found, and told or acted on.

Works behind the judging of quotes, in a task of its own: no stop waits for it, nor for its database.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from marketdata.domain.orders import Quote
from strategies.domain.gaps import Crossing, DayRange, crossed
from strategies.domain.stops import Stop
from strategies.gapnews import GapNews, Known, read_ranges, write_ranges
from strategies.records import trading_day
from strategies.workshop import Workshop

logger = logging.getLogger(__name__)

KEEP_S = 60.0
"""A range that has not changed is written down again after so long: it says when prices were last seen."""
RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class _Look:
    """What a quote told of a stop's instrument. ``is_gap``: its price was out of sight before."""

    stop: Stop
    range: DayRange
    price: int
    is_gap: bool


class GapWatch:
    """Keeps how far prices had been when they were last seen, for each arming, and compares.

    Args:
        shop: With the clock and the database.
        news: What is told, and whether an account wants out.
        leave: Exits a crossed stop, if it is still armed.

    """

    def __init__(self, shop: Workshop, news: GapNews, leave: Callable[[Crossing], None]) -> None:
        self._shop = shop
        self._news = news
        self._leave = leave
        self._known: dict[int, Known] = {}  # by strategy
        self._unkept: set[int] = set()  # strategies whose range is still to be written
        self._looks: dict[int, _Look] = {}  # still to be compared, by strategy
        self._task: asyncio.Task[None] | None = None

    def look(self, stops: Sequence[Stop], quotes: Mapping[str, Quote], at: float, *, is_gap: bool) -> None:
        """Take what quotes told at ``at`` (UNIX seconds) of the instruments of these stops."""
        for stop in stops:
            quote = quotes[stop.symbol]
            if quote.day_low is None or quote.day_high is None:
                continue
            before = self._looks.get(stop.strategy_id)
            told = DayRange(quote.day_low, quote.day_high, trading_day(at), at)
            was_gap = before is not None and before.is_gap
            self._looks[stop.strategy_id] = _Look(stop, told, quote.price, is_gap or was_gap)
        if self._looks and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._work(), name="gaps")

    def forget(self, users: Collection[int]) -> None:
        """Know nothing more of these users' stops: somebody else watches them now."""
        self._known = {pk: known for pk, known in self._known.items() if known.user_id not in users}
        self._looks = {pk: look for pk, look in self._looks.items() if look.stop.user_id not in users}

    def cancel(self) -> list[asyncio.Task[None]]:
        """Return what is under way, to be cancelled."""
        return [self._task] if self._task is not None else []

    # --- inside ---------------------------------------------------------------------------

    async def _work(self) -> None:
        while self._looks or self._unkept:
            try:
                await self._compare()
                await self._keep()
            except Exception:
                logger.exception("whether stops were crossed unseen could not be written down: trying again")
                await self._shop.clock.sleep(RETRY_S)

    async def _compare(self) -> None:
        await self._recall([look.stop for look in self._looks.values()])
        for look in list(self._looks.values()):
            if (found := self._crossing(look)) is not None:
                await self._act(found)
            self._remember(look)

    def _remember(self, look: _Look) -> None:
        stop = look.stop
        if _is_news(self._of(stop), look.range):
            self._known[stop.strategy_id] = Known(stop.user_id, stop.epoch, look.range)
            self._unkept.add(stop.strategy_id)
        if self._looks.get(stop.strategy_id) is look:
            del self._looks[stop.strategy_id]

    async def _recall(self, stops: Sequence[Stop]) -> None:
        """Read what an earlier process kept of armings that are new to this one."""
        new = [stop for stop in stops if self._of(stop) is None]
        if new:
            self._known.update(await self._shop.db(partial(read_ranges, new)))

    def _of(self, stop: Stop) -> DayRange | None:
        known = self._known.get(stop.strategy_id)
        return known.range if known is not None and known.epoch == stop.epoch else None

    def _crossing(self, look: _Look) -> Crossing | None:
        before = self._of(look.stop) if look.is_gap else None
        return None if before is None else crossed(look.stop, before, look.range, look.price)

    async def _act(self, found: Crossing) -> None:
        if await self._shop.db(partial(self._news.crossed, found), found.stop.user_id):
            self._leave(found)

    async def _keep(self) -> None:
        kept = {pk: self._known[pk] for pk in self._unkept if pk in self._known}
        if kept:
            await self._shop.db(partial(write_ranges, kept))
        self._unkept -= {pk for pk, known in kept.items() if self._known.get(pk) is known}
        self._unkept &= self._known.keys()


def _is_news(before: DayRange | None, told: DayRange) -> bool:
    return (
        before is None
        or (before.low, before.high, before.day) != (told.low, told.high, told.day)
        or told.at - before.at >= KEEP_S
    )
