"""From a breach to the committed intent to exit."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from marketdata import crashpoints
from strategies.domain.breaches import Breach, Intent
from strategies.records import ExitTask, trading_day
from strategies.spool import Spool
from strategies.workshop import Workshop

logger = logging.getLogger(__name__)

SPOOL_AFTER_S = 0.5
"""A database that takes longer over a breach may take for ever."""

BATCH = 50
"""Intents committed together: one fsync for all of them."""


class Opener:
    """Commits the intent of every breach, in the order they come. Returns at once, loses none.

    Args:
        shop: With the journal.
        opened: Called with each exit that has begun.
        gone: Called when a breach was of an arming that is over: what is armed now is to be looked at.
        spool: Keeps what the database does not take; None: only memory does.

    """

    def __init__(
        self,
        shop: Workshop,
        opened: Callable[[ExitTask], None],
        gone: Callable[[], None],
        spool: Spool | None = None,
    ) -> None:
        self._shop = shop
        self._opened = opened
        self._gone = gone
        self._spool = spool
        self._waiting: deque[Intent] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_committing = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="breach-spool")

    @property
    def is_busy(self) -> bool:
        return bool(self._waiting or self._tasks)

    def take(self, breaches: Sequence[Breach]) -> None:
        """Take breaches, the most urgent first."""
        crashpoints.passing("CP1")
        self._take([breach.intent for breach in breaches])
        for account_id in {breach.stop.account_id for breach in breaches}:
            self._shop.look_ahead(account_id)  # the account is read while the intent is committed

    def take_spooled(self) -> None:
        """Take what an earlier process could not commit; what is not of today needs a person."""
        if self._spool is None:
            return
        today = trading_day(self._shop.clock.time())
        kept = self._spool.load()
        late = [i for i in kept if trading_day(float(i.evidence["decided_at"])) != today]
        for intent in late:
            self._shop.journal.alarm(
                intent.user_id,
                f"The stop of {intent.symbol} was touched on an earlier day while the database could not be "
                "written, and no exit was sent. Look at the position.",
            )
        self._spool.drop(late)
        self._take([intent for intent in kept if intent not in late])

    def cancel(self) -> list[asyncio.Task[None]]:
        """Stop; what is not committed is in the spool, or still armed."""
        self._writer.shutdown(wait=False)
        for task in self._tasks:
            task.cancel()
        return list(self._tasks)

    def _take(self, intents: Sequence[Intent]) -> None:
        self._waiting.extend(intents)
        if self._waiting and not self._is_committing:
            self._is_committing = True
            self._shop.precedence.begin(self)
            self._start(self._commit_waiting())

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _commit_waiting(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                await self._commit(batch)
        finally:
            self._is_committing = False
            self._shop.precedence.end(self)

    async def _commit(self, batch: list[Intent]) -> None:
        began, users = self._shop.clock.monotonic(), {intent.user_id for intent in batch}
        what = f"{len(batch)} stop(s) were touched: {batch[0].symbol}"
        unit = partial(self._shop.journal.open_exits, batch)
        try:
            async with (
                self._shop.when_slow(SPOOL_AFTER_S, partial(self._keep, batch)),
                self._shop.alarming(users, what, began),
            ):
                exits = await self._shop.urgent_db(unit)
        except Exception as exc:  # noqa: BLE001 - whatever it is, no breach may be lost to it
            # One of them may be the trouble: from here on each is on its own.
            logger.critical("%d breaches are not committed yet (%s)", len(batch), exc)
            self._keep(batch)
            for intent in batch:
                self._start(self._commit_alone(intent, began))
            return
        for task in exits:
            self._end(task)
        self._drop(batch)

    async def _commit_alone(self, intent: Intent, began: float) -> None:
        unit = partial(self._shop.journal.open_exits, [intent])
        what = f"the stop of {intent.symbol} was touched (strategy {intent.strategy_id})"
        [task] = await self._shop.until_committed(unit, intent.user_id, what, since=began)
        self._end(task)
        self._drop([intent])

    def _drop(self, intents: Sequence[Intent]) -> None:
        if self._spool is not None:
            self._writer.submit(self._spool.drop, intents)

    def _end(self, task: ExitTask | None) -> None:
        if task is None:
            self._gone()
        else:
            self._opened(task)

    def _keep(self, intents: Sequence[Intent]) -> None:
        """Have breaches written down. Not here: a disk that hangs must not hold up the next tick."""
        if self._spool is not None:
            self._writer.submit(self._keep_now, self._spool, intents)

    def _keep_now(self, spool: Spool, intents: Sequence[Intent]) -> None:
        try:
            spool.keep(intents)
        except OSError as exc:
            logger.critical("breaches cannot be spooled: memory alone has them", exc_info=True)
            for user_id in {intent.user_id for intent in intents}:
                self._shop.journal.alarm(user_id, f"Touched stops could not be stored anywhere yet: {exc}.")
