"""The exit engine: every breach gets its exit, every open exit gets its worker.

Nothing that matters is kept in memory, so starting up is the same as carrying on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from marketdata.domain.clock import Clock
from marketdata.domain.orders import OrderSnapshot, Quote
from marketdata.subscriptions import SubscriptionManager
from strategies import records
from strategies.accounts import AccountDesks
from strategies.domain.breaches import Breach
from strategies.journal import Journal
from strategies.monitor import Dispute, StopLossMonitor
from strategies.records import MayTrade
from strategies.unarmed import UnarmedNews
from strategies.worker import ExitWorker, Workshop

logger = logging.getLogger(__name__)

RECONCILE_S = 2.0
DRAIN_S = 2.0
PERMIT_S = 10.0


class ExitEngine:
    """Works every open exit of this process until it is done, aborted or needs a person."""

    def __init__(self, journal: Journal, desks: AccountDesks, clock: Clock, may_trade: MayTrade) -> None:
        self._journal = journal
        self._clock = clock
        self._shop = Workshop(journal, desks, clock, may_trade)
        self.monitor = StopLossMonitor(
            self.on_breaches, clock, later=_call_later, on_dispute=self._on_dispute
        )
        self._unarmed = UnarmedNews(clock)
        self._workers: dict[int, tuple[ExitWorker, asyncio.Task[None]]] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._reconciler: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Recover every exit and arm every stop; return when that is done, before any tick is read."""
        interrupted = await self._shop.db(self._journal.recover_sending)
        if interrupted:
            logger.warning(
                "%d order(s) were interrupted while being sent: looking for them at the broker", interrupted
            )
        await self.reconcile()
        self._reconciler = asyncio.create_task(self._reconcile_forever(), name="exit-reconciler")

    async def stop(self) -> None:
        """Take nothing new, let requests in hand finish for up to two seconds, and let go."""
        self._stopping = True
        await self._while(lambda: bool(self._shop.sending or self._opening), DRAIN_S)
        self._shop.closing.set()
        # A permit that was asked for must not be left behind without its order: nobody would know.
        await self._while(lambda: bool(self._shop.permitting), PERMIT_S)
        tasks = [*(task for _, task in self._workers.values()), *self._opening, *self._telling]
        tasks += [self._reconciler] if self._reconciler else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._shop.close()

    async def _while(self, busy: Callable[[], bool], seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while busy() and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.02)

    def wake(self) -> None:
        """Look at the database now instead of within two seconds."""
        self._wake.set()

    # --- what comes in ------------------------------------------------------------------

    def on_breaches(self, breaches: Sequence[Breach]) -> None:
        """Take breaches in this order; returns at once."""
        for breach in breaches:
            task = asyncio.get_running_loop().create_task(self._open(breach))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def on_order_update(self, account_id: int, snapshot: OrderSnapshot) -> None:
        """Take an order update as a hint to read the book: what it says is not believed."""
        for worker, _ in self._workers.values():
            if snapshot.tag and snapshot.tag in worker.tags:
                worker.nudge()

    def _on_dispute(self, dispute: Dispute) -> None:
        unit = partial(self._journal.feeds_disagree, dispute.user_id, dispute.symbol, dispute.prices)
        task = asyncio.get_running_loop().create_task(self._shop.db(unit))
        self._telling.add(task)
        task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("could not write that feeds disagree", exc_info=error)

    async def on_connected(
        self, user_id: int, account_id: int, *, admits: Callable[[Quote], bool] = lambda _: True
    ) -> frozenset[str]:
        """Judge the armed instruments of a feed that has just (re)connected by a quote.

        Args:
            user_id: Whose stops.
            account_id: Whom to ask.
            admits: Whether a quote may trigger now: outside the session it is yesterday's price.

        Returns:
            The symbols that were judged: those quoted, at a price that may trigger.

        Raises:
            BrokerError: The quotes could not be read.

        """
        carried = await self._shop.db(partial(SubscriptionManager().get_subscribed_symbols, account_id))
        symbols = self.monitor.symbols(user_id) & carried
        if not symbols:
            return frozenset()
        desk = await self._shop.desk(account_id)
        quotes = await desk.quotes(symbols)
        admitted = {symbol: quote for symbol, quote in quotes.items() if quote.price > 0 and admits(quote)}
        self.monitor.on_quotes(user_id, admitted, self._clock.time())
        return frozenset(admitted)

    # --- keeping up with the database ---------------------------------------------------

    async def reconcile(self) -> None:
        """Put a worker on every open exit and arm what the database says is to be armed."""
        exits = await self._shop.db(records.open_exits)
        stops, unarmed = await self._shop.db(records.armed_stops)
        for exit_id in exits:
            self._work_on(exit_id)
        self.monitor.reconcile(stops)
        await self._shop.db(partial(self._unarmed.tell, unarmed))

    async def _reconcile_forever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RECONCILE_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.reconcile()
            except Exception:
                logger.exception("could not read strategies and exits: trying again in %.0f s", RECONCILE_S)

    # --- exits --------------------------------------------------------------------------

    async def _open(self, breach: Breach) -> None:
        unit = partial(self._journal.open_exit, breach)
        what = f"the stop of {breach.stop.symbol} was touched (strategy {breach.stop.strategy_id})"
        exit_id = await self._shop.until_committed(unit, breach.stop.user_id, what)
        if exit_id is None:
            self.wake()  # disarmed or edited meanwhile: arm what is there now
        else:
            self._work_on(exit_id)

    def _work_on(self, exit_id: int) -> None:
        if exit_id in self._workers or self._stopping:
            return
        worker = ExitWorker(exit_id, self._shop)
        task = asyncio.get_running_loop().create_task(worker.run(), name=f"exit-{exit_id}")
        self._workers[exit_id] = (worker, task)
        task.add_done_callback(lambda _: self._workers.pop(exit_id, None))


def _call_later(seconds: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)
