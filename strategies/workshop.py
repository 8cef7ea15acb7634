"""What every exit's worker shares: the journal and its thread, the brokers, the clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from django.db import connection

from marketdata.database import DatabaseThread, FairDatabaseThread
from marketdata.domain.clock import Clock
from marketdata.domain.leasing import NotOwner
from marketdata.precedence import Precedence
from strategies import records
from strategies.accounts import AccountDesk, AccountDesks, heard
from strategies.domain.record import Moment
from strategies.domain.sentences import TELL_AFTER_S
from strategies.journal import Journal, Overtaken
from strategies.records import AccountFacts, trading_day

logger = logging.getLogger(__name__)
T = TypeVar("T")

LOCK_WAIT_S = 1.0
"""A lock that lasts is to be an error while there is time to tell of it."""

COMMIT_RETRY_S = 0.1
COMMIT_RETRY_MAX_S = 1.0
ALARM_AGAIN_S = 60.0
"""What goes on without a database goes on being told: no alert can be acknowledged meanwhile."""
NEWS_AFTER_S = 0.05
"""Pages are told of an exit's steps this much later: whatever is about to leave goes first."""

FACTS_MAX_AGE_S = 2.0
"""How old an account's credentials may be: a new token is used within this."""

FACTS_AHEAD_AGE_S = FACTS_MAX_AGE_S / 2
"""Credentials this old may get too old before the order they are for: they are looked at beside the read."""

IsTrading = Callable[[str, float], bool]
"""Whether a symbol's exchange takes orders at a UNIX time."""


@dataclass(slots=True)
class _Known:
    desk: AccountDesk
    read_at: float
    facts: AccountFacts


class Workshop:
    """The journal's thread, the accounts' desks and the clock, for all workers of a process."""

    def __init__(
        self,
        journal: Journal,
        desks: AccountDesks,
        clock: Clock,
        is_trading: IsTrading,
        *,
        database: FairDatabaseThread | None = None,
        precedence: Precedence | None = None,
    ) -> None:
        self.journal = journal
        self.clock = clock
        self.is_trading = is_trading
        self.sending = 0  # place requests in hand
        self.permitting = 0  # permits being committed
        self.closing = asyncio.Event()  # nothing more may be sent
        self.precedence = precedence or Precedence(clock)  # from a breach to its order's first byte
        self._desks = desks
        self._database = database or FairDatabaseThread(
            DatabaseThread("exit-journal", lock_wait_s=LOCK_WAIT_S)
        )
        self._looking = database or FairDatabaseThread(
            DatabaseThread("exit-look", lock_wait_s=LOCK_WAIT_S, precedence=self.precedence)
        )
        # Beside what begins is written what has ended, where there may be two writers: it is told of at length.
        self._ending = self._database
        if database is None and connection.vendor != "sqlite":
            self._ending = FairDatabaseThread(DatabaseThread("exit-endings", lock_wait_s=LOCK_WAIT_S))
        # Beside the commit of an intent, which its account's credentials would wait for.
        self._accounts = database or FairDatabaseThread(
            DatabaseThread("exit-accounts", lock_wait_s=LOCK_WAIT_S)
        )
        self._known: dict[int, _Known] = {}
        self._learning: dict[int, asyncio.Task[_Known]] = {}
        self._telling: asyncio.Task[None] | None = None

    def moment(self) -> Moment:
        """Return now."""
        now = self.clock.time()
        return Moment(now, self.clock.monotonic(), trading_day(now))

    async def db(self, unit: Callable[[], T], lane: object = None) -> T:
        """Run one unit of database work on the journal's own thread, in the lane of its user."""
        return await self._write(self._database, unit, lane)

    async def urgent_db(self, unit: Callable[[], T]) -> T:
        """Run a unit before everybody else's: an exit that begins."""
        return await self.db(unit, FairDatabaseThread.URGENT)

    async def ending_db(self, unit: Callable[[], T], lane: object) -> T:
        """Run the unit that ends an exit."""
        return await self._write(self._ending, unit, lane)

    async def _write(self, thread: FairDatabaseThread, unit: Callable[[], T], lane: object) -> T:
        try:
            return await thread.run(unit, lane)
        finally:
            self._tell_soon()

    async def look_db(self, unit: Callable[[], T]) -> T:
        """Run a unit that reads much, and that no exit waits for, on a thread and a connection of its own."""
        return await self._looking.run(unit, None)

    def _tell_soon(self) -> None:
        if self.journal.has_news and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell(), name="exit-news")

    async def _tell(self) -> None:
        while self.journal.has_news:
            await self.clock.sleep(NEWS_AFTER_S)
            await self.precedence.wait()
            await self.tell()

    async def tell(self) -> None:
        """Have pages and programs told now of the exits written so far."""
        try:
            await self.look_db(self.journal.tell)
        except Exception:
            logger.exception("pages could not be told of an exit: they see it when they look again")

    async def until_committed(
        self, unit: Callable[[], T], user_id: int, what: str, *, since: float | None = None
    ) -> T:
        """Run a unit that must not be lost, whatever the database says and however long.

        Memory keeps it until then. A person is told after two seconds, without the database.

        Args:
            unit: What to commit.
            user_id: Whom to tell.
            what: What is not committed yet, for them.
            since: Elapsed seconds at which it began; None: now.

        Raises:
            Overtaken: Somebody else was quicker.
            NotOwner: Another process owns the user.

        """
        began = self.clock.monotonic() if since is None else since
        async with self.alarming([user_id], what, began):
            while True:
                try:
                    return await self.urgent_db(unit)
                except (Overtaken, NotOwner):
                    raise
                except Exception:
                    logger.critical("%s is not committed yet", what, exc_info=True)
                is_told = self.clock.monotonic() - began >= TELL_AFTER_S
                await self.clock.sleep(COMMIT_RETRY_MAX_S if is_told else COMMIT_RETRY_S)

    @asynccontextmanager
    async def alarming(self, user_ids: Collection[int], what: str, began: float) -> AsyncIterator[None]:
        """Tell users, without the database, when the block is not over two seconds after ``began``.

        They are told again each minute until it is.
        """

        def tell() -> None:
            for user_id in user_ids:
                self.journal.alarm(user_id, f"The database cannot be written: {what}.")

        async with self.when_slow(began + TELL_AFTER_S - self.clock.monotonic(), tell, again_s=ALARM_AGAIN_S):
            yield

    @asynccontextmanager
    async def when_slow(
        self, seconds: float, call: Callable[[], None], *, again_s: float | None = None
    ) -> AsyncIterator[None]:
        """Call when the block takes longer: a database that hangs raises nothing for a while.

        And call again each ``again_s`` seconds for as long as it lasts, if that is given.
        """

        async def wait() -> None:
            await self.clock.sleep(max(seconds, 0.0))
            call()
            while again_s is not None:
                await self.clock.sleep(again_s)
                call()

        waiting = asyncio.create_task(wait())
        try:
            yield
        finally:
            waiting.cancel()

    async def desk(self, account_id: int, lane: object = None) -> AccountDesk:
        """Return an account's desk, once its token is known to be its own. Raises ``BrokerError``."""
        known = self._known.get(account_id)
        if known is None or self._is_older(known, FACTS_MAX_AGE_S):
            known = await asyncio.shield(self._learning_of(account_id, lane))
        await known.desk.confirm_owner(known.facts.config.client_id)
        return known.desk

    def look_ahead(self, account_id: int) -> None:
        """Have an account read that is about to be asked for, if it has been at work; nobody waits for it."""
        known = self._known.get(account_id)
        if known is not None:
            known.desk.read_ahead()
            known.desk.connect_ahead()
            if self._is_older(known, FACTS_AHEAD_AGE_S):
                self._learning_of(account_id, None)

    def _is_older(self, known: _Known, age_s: float) -> bool:
        return self.clock.monotonic() - known.read_at > age_s

    def _learning_of(self, account_id: int, lane: object) -> asyncio.Task[_Known]:
        """Return what reads an account's credentials, for all who ask meanwhile."""
        learning = self._learning.get(account_id)
        if learning is None:
            learning = asyncio.create_task(self._learn(account_id, lane))
            self._learning[account_id] = learning
            learning.add_done_callback(lambda _: self._learning.pop(account_id, None))
            learning.add_done_callback(heard)
        return learning

    async def _learn(self, account_id: int, lane: object) -> _Known:
        now, today = self.clock.monotonic(), trading_day(self.clock.time())
        before = self._known.get(account_id)
        known_facts = None if before is None else before.facts
        unit = partial(records.account_facts, account_id, today, known_facts)
        facts = await self._accounts.run(unit, lane)
        desk = self._desks.desk(facts.config)
        desk.begin_day(today, facts.sent_today)
        known = self._known[account_id] = _Known(desk, now, facts)
        return known

    def known_desk(self, account_id: int) -> AccountDesk | None:
        """Return an account's desk if it has been at work; asks nobody."""
        return self._desks.known(account_id)

    def close(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
        self._desks.close()
        for thread in dict.fromkeys((self._accounts, self._looking, self._ending, self._database)):
            thread.close()
