"""The exit engine: every breach gets its exit, every open exit gets its worker.

Nothing that matters is kept in memory, so starting up is the same as carrying on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from functools import partial

from marketdata.closings import read_closings
from marketdata.database import FairDatabaseThread
from marketdata.domain.clock import Clock
from marketdata.domain.gate import Gate
from marketdata.domain.orders import OrderSnapshot, Quote
from marketdata.domain.sessions import Calendar
from marketdata.precedence import Precedence
from marketdata.subscriptions import SubscriptionManager
from strategies import records
from strategies.accounts import AccountDesks
from strategies.arming import ArmedReader
from strategies.crosscheck import CrossCheck
from strategies.domain.events import Seen
from strategies.gapnews import GapNews
from strategies.gaps import GapWatch
from strategies.journal import Journal
from strategies.monitor import StopLossMonitor
from strategies.opening import Opener
from strategies.pricenews import PriceNews
from strategies.readiness import Readiness
from strategies.records import ExitTask
from strategies.rescaled import ScaleCheck, suspend_rescaled
from strategies.spool import Spool
from strategies.unarmed import UnarmedNews
from strategies.watchman import Watchman
from strategies.worker import ExitWorker
from strategies.workshop import IsTrading, Workshop

logger = logging.getLogger(__name__)

RECONCILE_S = 2.0
DRAIN_S = 2.0
PERMIT_S = 10.0

Owned = Callable[[], Collection[int] | None]
"""The users whose exits this process works; None: everybody's."""


class ExitEngine:
    """Works every open exit of this process until it is done, aborted or needs a person.

    Args:
        journal: The record.
        desks: The accounts.
        clock: For everything that waits.
        owned: Whose exits are worked here; looked at with every reconciliation.
        is_trading: Whether a symbol's exchange takes orders now.
        spool: Keeps breaches that the database does not take.
        database: Where the journal's work runs; a thread of its own unless told.
        precedence: Shared with what can wait while an order is on its way.

    """

    def __init__(
        self,
        journal: Journal,
        desks: AccountDesks,
        clock: Clock,
        *,
        owned: Owned = lambda: None,
        is_trading: IsTrading = lambda _symbol, _now: True,
        spool: Spool | None = None,
        database: FairDatabaseThread | None = None,
        precedence: Precedence | None = None,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._owned = owned
        self._shop = Workshop(journal, desks, clock, is_trading, database=database, precedence=precedence)
        self._opener = Opener(self._shop, self._begin, self.wake, spool)
        self._watchman = Watchman(self._shop, self._step_once, owned)
        self._readiness = Readiness(self._shop, owned)
        self.admits: Callable[[Quote], bool] = lambda _: True  # outside the session it is yesterday's price
        self._calendar: Callable[[], Calendar] = lambda: Calendar(always=True)
        self.scales = ScaleCheck()
        news = PriceNews(journal.announcer, clock)
        self.checks = CrossCheck(self._shop, self._judge_quotes, news)
        self.monitor = StopLossMonitor(
            self._opener.take,
            clock,
            later=_call_later,
            on_dispute=self.checks.dispute,
            on_doubt=self.checks.doubt,
            on_closed=self.checks.closed,
        )
        self._gaps = GapWatch(self._shop, GapNews(journal.announcer, clock), self.monitor.on_crossed)
        self._armed = ArmedReader()
        self._unarmed = UnarmedNews(clock)
        self._workers: dict[int, tuple[ExitWorker, asyncio.Task[None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False

    # --- life ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up every exit and arm every stop; return when that is done, before any tick is read."""
        self._opener.take_spooled()
        await self.reconcile()
        for name, work in (
            ("exit-reconciler", self._reconcile_forever()),
            ("watchman", self._watchman.run()),
            ("readiness", self._readiness.run()),
        ):
            self._tasks.add(asyncio.create_task(work, name=name))

    async def stop(self) -> None:
        """Take nothing new, let requests in hand finish for up to two seconds, and let go."""
        self._stopping = True
        await self._while(lambda: bool(self._shop.sending or self._opener.is_busy), DRAIN_S)
        self._shop.closing.set()
        # A permit that was asked for must not be left behind without its order: nobody would know.
        await self._while(lambda: bool(self._shop.permitting), PERMIT_S)
        tasks = [*(task for _, task in self._workers.values()), *self._tasks, *self.checks.cancel()]
        tasks += self._gaps.cancel()
        tasks += [*self._opener.cancel(), *self._watchman.cancel()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._shop.tell()
        self._shop.close()

    async def recover(self, users: Collection[int]) -> None:
        """Take up the exits and arm the stops of users that are owned from now on."""
        logger.info("taking up the exits of users %s", sorted(users))
        await self.reconcile()

    async def drop(self, users: Collection[int]) -> None:
        """Let go of users that are no longer owned; when it returns, nothing more is sent for them."""
        for user_id in users:
            self.monitor.disarm_user(user_id)
        self._gaps.forget(users)
        dropped = [(w, task) for w, task in self._workers.values() if w.user_id in users]
        for worker, task in dropped:
            worker.forbid()
            task.cancel()
        await asyncio.gather(*(task for _, task in dropped), return_exceptions=True)
        await self._while(lambda: any(worker.is_permitting for worker, _ in dropped), PERMIT_S)

    def is_at_rest(self, user_id: int) -> bool:
        """Tell whether nothing of a user's is held in doubt, waits to be written down, or is worked."""
        is_worked = any(worker.user_id == user_id for worker, _ in self._workers.values())
        return not (is_worked or self._opener.is_busy or self.monitor.is_in_doubt(user_id))

    async def _while(self, busy: Callable[[], bool], seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while busy() and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.02)

    def wake(self) -> None:
        """Look at the database now instead of within two seconds."""
        self._wake.set()

    # --- what comes in ------------------------------------------------------------------

    def on_order_update(self, account_id: int, snapshot: OrderSnapshot) -> None:
        """Take an order update as a hint to read the book: what it says is not believed."""
        if desk := self._shop.known_desk(account_id):
            desk.hear(snapshot)
        for worker, _ in self._workers.values():
            if snapshot.tag and snapshot.tag in worker.tags:
                worker.nudge()

    def use_gate(self, gate: Gate) -> None:
        """Have quotes and evidence judged by the gate that the feeds' ticks go through."""
        self.monitor.explain = gate.explain
        self._calendar = lambda: gate.calendar
        self.admits = lambda quote: gate.admits(quote, self._clock.time())

    async def _judge_quotes(self, user_id: int, quotes: Mapping[str, Quote]) -> Mapping[str, int]:
        now = self._clock.time()
        if rescaled := self.scales.found(quotes, now, self._calendar()):
            for one in rescaled:
                await self._shop.urgent_db(partial(suspend_rescaled, one))
            self.scales.load(await self._shop.db(read_closings))
            await self.reconcile()
        admitted = {
            symbol: quote for symbol, quote in quotes.items() if quote.price > 0 and self.admits(quote)
        }
        self.monitor.on_quotes(user_id, admitted, now)
        return {symbol: quote.price for symbol, quote in admitted.items()}

    async def judge_by_quotes(
        self, user_id: int, account_id: int, symbols: Collection[str] | None = None, *, is_gap: bool = True
    ) -> Mapping[str, int]:
        """Judge the armed instruments of a feed, or only ``symbols`` of them, by prices that are asked for.

        Args:
            user_id: Whose stops.
            account_id: Whom to ask.
            symbols: Which; None: all that the account's feed is to carry.
            is_gap: They were out of sight before: a stop that was crossed meanwhile is looked for.

        Returns:
            The prices (units) of the symbols that were judged: those quoted, at a price that may trigger.

        Raises:
            BrokerError: The quotes could not be read.

        """
        if symbols is None:
            symbols = await self._shop.db(partial(SubscriptionManager().get_subscribed_symbols, account_id))
        armed = self.monitor.symbols(user_id).intersection(symbols)
        if not armed:
            return {}
        desk = await self._shop.desk(account_id, user_id)
        # What the answer tells of the day so far says nothing of a stop that is armed while it is on its way.
        before = {(stop.strategy_id, stop.epoch) for stop in self.monitor.stops(user_id, armed)}
        quotes = await desk.watch(armed)
        judged = await self._judge_quotes(user_id, quotes)
        still = self.monitor.stops(user_id, judged)
        stops = [stop for stop in still if (stop.strategy_id, stop.epoch) in before]
        self._gaps.look(stops, quotes, self._clock.time(), is_gap=is_gap)
        return judged

    # --- keeping up with the database ---------------------------------------------------

    async def reconcile(self) -> None:
        """Put a worker on every open exit and arm what the database says is to be armed."""
        owned = self._owned()
        workers = [worker for worker, _ in self._workers.values()]  # others begin during the reading
        exits = await self._shop.look_db(partial(records.open_exits, owned))
        stops, unarmed = await self._shop.look_db(partial(self._armed.read, owned))
        still = self._owned()  # users may have been let go of during the reading
        for exit_ in exits:
            if still is None or exit_.user_id in still:
                self._work_on(exit_.id, exit_.user_id)
        versions = {exit_.id: exit_.version for exit_ in exits}
        for worker in workers:
            worker.look_at(versions.get(worker.exit_id))
        if still is not None and still != owned:
            stops = [stop for stop in stops if stop.user_id in still]
        self.monitor.reconcile(stops)
        await self._shop.db(partial(self._unarmed.tell, unarmed, owned))

    async def _reconcile_forever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(RECONCILE_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._shop.precedence.wait()
            try:
                await self.reconcile()
            except Exception:
                logger.exception("could not read strategies and exits: trying again in %.0f s", RECONCILE_S)

    # --- exits --------------------------------------------------------------------------

    def _begin(self, task: ExitTask) -> None:
        self._work_on(task.record.id, task.user_id, task)

    def _work_on(self, exit_id: int, user_id: int, task: ExitTask | None = None) -> None:
        if exit_id not in self._workers and not self._stopping:
            worker = ExitWorker(exit_id, user_id, self._shop, task)
            if task is not None:  # it has just begun
                self._shop.precedence.begin(worker)
            self._start(worker, None)

    def _step_once(self, exit_id: int, user_id: int, seen: Seen) -> None:
        """Have an exit that has ended look at what became of its orders."""
        if exit_id not in self._workers and not self._stopping:
            self._start(ExitWorker(exit_id, user_id, self._shop), seen)

    def _start(self, worker: ExitWorker, first: Seen | None) -> None:
        task = asyncio.get_running_loop().create_task(worker.run(first), name=f"exit-{worker.exit_id}")
        self._workers[worker.exit_id] = (worker, task)
        task.add_done_callback(lambda _: self._ended(worker))

    def _ended(self, worker: ExitWorker) -> None:
        self._workers.pop(worker.exit_id, None)
        self._shop.precedence.end(worker)


def _call_later(seconds: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)
