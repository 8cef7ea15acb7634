"""Keeps looking who owns whom, and has the work for a user begun and ended accordingly.

Whoever gains a user is first named as their owner, then recovers their exits, and only then are
their feeds run. Whoever loses one stops being named first, then ends all work, then lets go. Handing
a user on is the same, but that the owner begins it, and only while nothing of theirs is under way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping
from typing import Protocol

from marketdata.database import DatabaseThread
from marketdata.domain.clock import Clock
from marketdata.domain.leasing import Terms
from marketdata.holdings import Holdings

logger = logging.getLogger(__name__)

BEAT_S = 0.5
AT_ONCE = 8
"""So many users are handed on together, and no more before the last of them has been let go."""


class Crew(Protocol):
    """Who does the work for the users of this worker."""

    async def recover(self, users: Collection[int]) -> None:
        """Take up what others left of their exits, and arm their stops; their feeds do not run yet."""
        ...

    def begin(self) -> None:
        """Look at which feeds to run: there are more users now."""
        ...

    def release(self, users: Collection[int], most: int) -> frozenset[int]:
        """Stop watching for up to ``most`` of these users, of whom nothing is under way; return them."""
        ...

    async def drop(self, users: Collection[int]) -> None:
        """End all work for these users; return when nothing of theirs can be sent any more."""
        ...

    async def tell(self, troubles: Mapping[int, str], over: Collection[int]) -> None:
        """Tell people by user why nobody is at work for them; for those of ``over`` that has ended."""
        ...


class LeaseKeeper:
    """Belongs to one event loop; ``token`` may be asked from any thread."""

    def __init__(
        self,
        holdings: Holdings,
        crew: Crew,
        database: DatabaseThread,
        clock: Clock,
        terms: Terms | None = None,
    ) -> None:
        self._holdings = holdings
        self._crew = crew
        self._database = database
        self._clock = clock
        self._terms = terms or Terms()
        self._owned: frozenset[int] = frozenset()
        self._at_work: frozenset[int] = frozenset()
        self._moves: dict[asyncio.Task[None], frozenset[int]] = {}  # hand-overs under way
        self._handing_on: frozenset[int] = frozenset()
        self._told: Mapping[int, str] = {}
        self._trouble = ""
        self._beat_at = clock.monotonic()
        self._was_paused = False
        self._is_retiring = False

    # --- what it says -----------------------------------------------------------------------

    def owned(self) -> frozenset[int]:
        """Return whose exits this worker works on now."""
        return self._owned if self._is_awake() else frozenset()

    def at_work(self) -> frozenset[int]:
        """Return whose feeds it runs now: those whose exits are recovered."""
        return self._at_work if self._is_awake() else frozenset()

    def token(self, user_id: int) -> int | None:
        """Return the number a user is owned with; None when not, or when that is not known just now."""
        return self._holdings.token(user_id) if self._is_awake() else None

    # --- life -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take what nobody owns, and return when the exits of those users are recovered."""
        self._beat_at = self._clock.monotonic()
        await self._look()
        await asyncio.gather(*self._moves)

    async def run(self) -> None:
        """Look at who owns whom, twice a second, until cancelled."""
        beat = asyncio.create_task(self._beat(), name="lease-beat")
        try:
            while True:
                await self._look_safely()
                await self._clock.sleep(self._terms.look_s)
        finally:
            beat.cancel()

    def retire(self) -> None:
        """Take nobody over any more; keep what is owned until ``close``."""
        self._is_retiring = True

    async def close(self) -> None:
        """Let others have everybody: no work is under way any more."""
        self._owned = self._at_work = frozenset()
        await self._end_moves()
        await self._database.run(self._holdings.close)

    # --- looking ----------------------------------------------------------------------------

    async def _look_safely(self) -> None:
        try:
            await self._look()
            self._trouble = ""
        except Exception as exc:
            # Nobody else can take over through a database that does not answer: carry on.
            if str(exc) != self._trouble:
                logger.exception("could not look at the leases: trying again all the time")
            self._trouble = str(exc)

    async def _look(self) -> None:
        if not self._is_awake():
            await self._stand_back()
        troubles = await self._database.run(self._holdings.look, may_take=not self._is_retiring)
        if not self._is_awake():  # paused while looking: what was seen may be old
            return
        moving = frozenset[int]().union(*self._moves.values())
        if lost := self._holdings.leaving - moving:
            self._owned -= lost
            self._at_work -= lost
            self._move(self._put_down(lost), lost)
        if gained := self._holdings.users - self._at_work - moving:
            self._move(self._take_up(gained), gained)
        self._hand_on()
        await self._tell(troubles)

    def _hand_on(self) -> None:
        """Let other workers have what this one has too many of."""
        moving = frozenset[int]().union(*self._moves.values())
        surplus = min(self._holdings.surplus, AT_ONCE)
        if not surplus or self._is_retiring or self._handing_on & moving:
            return
        users = self._crew.release(self._at_work & self._holdings.users - moving, surplus)
        if users:
            logger.info("users %s: handed on to a worker with fewer", sorted(users))
            self._owned -= users
            self._at_work -= users
            self._handing_on = users
            self._move(self._put_down(users), users)

    def _move(self, hand_over: Coroutine[None, None, None], users: frozenset[int]) -> None:
        """Begin a hand-over without waiting for it: the leases of the others have to be renewed."""
        task = asyncio.get_running_loop().create_task(hand_over)
        self._moves[task] = users
        task.add_done_callback(self._moved)

    def _moved(self, task: asyncio.Task[None]) -> None:
        users = self._moves.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("hand-over of users %s: trying again", sorted(users), exc_info=error)

    async def _take_up(self, users: frozenset[int]) -> None:
        self._owned |= users & self._holdings.users
        await self._crew.recover(users)
        self._at_work |= users & self._owned & self._holdings.users
        self._crew.begin()

    async def _put_down(self, users: frozenset[int]) -> None:
        await self._crew.drop(users)
        await self._database.run(self._holdings.give_up, users)

    async def _tell(self, troubles: Mapping[int, str]) -> None:
        if troubles == self._told:
            return
        over = self._told.keys() - troubles.keys()
        for user_id, text in troubles.items():
            logger.critical("user %s: %s", user_id, text)
        await self._crew.tell(troubles, over)
        self._told = troubles

    # --- a process that was stopped ---------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            self._is_awake()
            self._beat_at = self._clock.monotonic()
            await self._clock.sleep(BEAT_S)

    def _is_awake(self) -> bool:
        """Tell whether this process has been running; it is asked before anything else is done."""
        if self._clock.monotonic() - self._beat_at > self._terms.pause_s:
            self._was_paused = True
        return not self._was_paused

    async def _stand_back(self) -> None:
        """Others may have taken over while this process stood still: be nobody's owner until it is known."""
        logger.critical("this process stood still for a while: everything it runs begins anew")
        users = self._owned.union(*self._moves.values())
        self._owned = self._at_work = frozenset()
        await self._end_moves()
        await self._crew.drop(users)
        self._beat_at, self._was_paused = self._clock.monotonic(), False

    async def _end_moves(self) -> None:
        for task in list(self._moves):
            task.cancel()
        await asyncio.gather(*self._moves, return_exceptions=True)
