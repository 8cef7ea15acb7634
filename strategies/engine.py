"""The exit engine: takes each exit from its breach to its end, one step at a time.

Every step is decided by ``domain.steps`` from the journal's rows and done here. Nothing that
matters is kept in memory, so starting up is the same as carrying on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from django.db import OperationalError

from marketdata.database import DatabaseThread
from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerError
from marketdata.domain.orders import OrderSnapshot, Outcome
from strategies import records
from strategies.accounts import AccountDesk, AccountDesks, AccountRead
from strategies.domain.breaches import Breach
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.planning import Covered, Flat, Plan, Send, Unclear, plan
from strategies.domain.steps import (
    AskHuman,
    Finish,
    OrderRecord,
    PlanOrder,
    SendOrder,
    Step,
    VoidOrder,
    Watch,
    find_in_book,
    next_step,
)
from strategies.journal import Journal
from strategies.monitor import StopLossMonitor
from strategies.records import ExitTask, MayTrade

logger = logging.getLogger(__name__)
T = TypeVar("T")

RECONCILE_S = 2.0
POLL_S = 1.0
UNKNOWN_POLL_S = 3.0
HUMAN_POLL_S = 30.0
RETRY_S = 0.25
COMMIT_RETRY_S = 0.1
TELL_AFTER_S = 2.0
"""How long a step may keep failing before a person is told."""

DRAIN_S = 2.0


class ExitEngine:
    """Works every open exit of this process until it is done, aborted or needs a person."""

    def __init__(self, journal: Journal, desks: AccountDesks, clock: Clock, may_trade: MayTrade) -> None:
        self._journal = journal
        self._desks = desks
        self._clock = clock
        self._may_trade = may_trade
        self.monitor = StopLossMonitor(self.on_breach, clock)
        self._database = DatabaseThread("exit-journal")
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._nudges: dict[int, asyncio.Event] = {}
        self._tags: dict[str, int] = {}
        self._sending = 0
        self._wake = asyncio.Event()
        self._stopping = False
        self._reconciler: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Recover every exit and arm every stop; return when that is done, before any tick is read."""
        interrupted = await self._db(self._journal.recover_sending)
        if interrupted:
            logger.warning(
                "%d order(s) were interrupted while being sent: looking for them at the broker", interrupted
            )
        await self._reconcile()
        self._reconciler = asyncio.create_task(self._reconcile_forever(), name="exit-reconciler")

    async def stop(self) -> None:
        """Take nothing new, let requests in hand finish for up to two seconds, and let go."""
        self._stopping = True
        deadline = self._clock.monotonic() + DRAIN_S
        while (self._sending or self._opening) and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.02)
        running = [task for task in (self._reconciler, *self._tasks.values(), *self._opening) if task]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._desks.close()
        self._database.close()

    def wake(self) -> None:
        """Look at the database now instead of within two seconds."""
        self._wake.set()

    # --- what comes in ------------------------------------------------------------------

    def on_breach(self, breach: Breach) -> None:
        """Take a breach; returns at once."""
        task = asyncio.get_running_loop().create_task(self._open(breach))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def on_order_update(self, account_id: int, snapshot: OrderSnapshot) -> None:
        """Take an order update as a hint to read the book: what it says is not believed."""
        exit_id = self._tags.get(snapshot.tag)
        if exit_id is not None:
            self._nudge(exit_id)

    async def on_connected(self, user_id: int, account_id: int) -> None:
        """Judge the armed instruments of a feed that has just (re)connected by a quote.

        Raises:
            BrokerError: The quotes could not be read.

        """
        symbols = self.monitor.symbols(user_id)
        if symbols:
            desk = await self._desk(account_id)
            quotes = await desk.quotes(symbols)
            self.monitor.on_quotes(user_id, quotes, self._clock.time())

    # --- keeping up with the database ---------------------------------------------------

    async def _reconcile_forever(self) -> None:
        while True:
            await self._wait(self._wake, RECONCILE_S)
            try:
                await self._reconcile()
            except Exception:
                logger.exception("could not read strategies and exits: trying again in %.0f s", RECONCILE_S)

    async def _reconcile(self) -> None:
        exits = await self._db(records.open_exits)
        stops = await self._db(records.armed_stops)
        for exit_id in exits:
            self._work_on(exit_id)
        self.monitor.reconcile(stops)

    async def _open(self, breach: Breach) -> None:
        exit_id = await self._until_committed(
            partial(self._journal.open_exit, breach), f"breach {breach.stop}"
        )
        if exit_id is None:
            self.wake()  # disarmed or edited meanwhile: arm what is there now
        else:
            self._work_on(exit_id)

    async def _until_committed(self, unit: Callable[[], T], what: str) -> T:
        """Run a unit that must not be lost, however long the database takes; memory keeps it until then."""
        while True:
            try:
                return await self._db(unit)
            except OperationalError:
                logger.critical("%s is not committed yet", what, exc_info=True)
                await self._clock.sleep(COMMIT_RETRY_S)

    # --- working an exit ----------------------------------------------------------------

    def _work_on(self, exit_id: int) -> None:
        if exit_id in self._tasks or self._stopping:
            return
        self._nudges[exit_id] = asyncio.Event()
        task = asyncio.get_running_loop().create_task(self._work(exit_id), name=f"exit-{exit_id}")
        self._tasks[exit_id] = task
        task.add_done_callback(lambda _: self._forget(exit_id))

    def _forget(self, exit_id: int) -> None:
        self._tasks.pop(exit_id, None)
        self._nudges.pop(exit_id, None)
        self._tags = {tag: owner for tag, owner in self._tags.items() if owner != exit_id}

    async def _work(self, exit_id: int) -> None:
        failing_since: float | None = None
        while True:
            try:
                if await self._advance(exit_id):
                    return
                failing_since = None
            except BrokerError as exc:
                failing_since = await self._failed(
                    exit_id, f"The broker cannot be read: {exc}", failing_since
                )
            except Exception as exc:
                logger.exception("exit %s: step failed", exit_id)
                failing_since = await self._failed(exit_id, f"An exit step failed: {exc}", failing_since)

    async def _failed(self, exit_id: int, text: str, since: float | None) -> float:
        """Wait before the next try; tell a person once it has gone on for two seconds."""
        now = self._clock.monotonic()
        since = now if since is None else since
        if now - since >= TELL_AFTER_S:
            await self._quietly(lambda: self._journal.concern(exit_id, f"{text}. Trying again all the time."))
        await self._wait(self._nudges[exit_id], RETRY_S if now - since < TELL_AFTER_S else POLL_S)
        return since

    async def _advance(self, exit_id: int) -> bool:
        """Do the next step of an exit; True when it is over."""
        task = await self._db(lambda: records.load(exit_id, self._may_trade))
        if task.record.state.is_final:
            return True
        self._tags.update({order.tag: exit_id for order in task.record.orders})
        step = next_step(task.record, self._clock.time())
        await self._do(task, step)
        return isinstance(step, Finish)

    async def _do(self, task: ExitTask, step: Step) -> None:
        match step:
            case PlanOrder():
                await self._plan(task)
            case SendOrder(order):
                await self._send(task, order)
            case VoidOrder(order):
                await self._db(lambda: self._journal.void(order.id, "planned too long ago"))
            case Watch():
                await self._watch(task, step)
            case Finish():
                await self._db(lambda: self._journal.finish(task.record.id, ExitState.DONE, ""))
            case AskHuman(reason):
                await self._ask_human(task, reason)

    async def _plan(self, task: ExitTask) -> None:
        if task.refusal:
            await self._abort(task, task.refusal)
            return
        desk = await self._desk(task.account_id)
        read = await desk.read()
        decision = await self._decide(task, read)
        match decision:
            case Send():
                held = _held(read, task, decision)
                planned = await self._db(
                    lambda: self._journal.plan_order(task.record.id, decision, held, read.began_at)
                )
                if not planned:
                    await self._look_again(task, desk)
            case Covered():
                await self._look_again(task, desk)
            case Flat():
                await self._conclude_flat(task, desk, read)
            case Unclear(reason):
                await self._ask_human(task, f"It is not clear which position to close: {reason}.")

    async def _decide(self, task: ExitTask, read: AccountRead) -> Plan:
        own = await self._db(lambda: records.own_orders(task.account_id, read.began_at))
        return plan(task.need, read.positions, own)

    async def _look_again(self, task: ExitTask, desk: AccountDesk) -> None:
        """Everything held is on its way out already: wait for those orders to end."""
        await self._wait(self._nudges[task.record.id], RETRY_S)
        await desk.read(not_before=self._clock.monotonic())

    async def _conclude_flat(self, task: ExitTask, desk: AccountDesk, read: AccountRead) -> None:
        """Believe "nothing held" only from a second, newer read that says the same."""
        again = await desk.read(not_before=max(read.began + 0.001, self._clock.monotonic()))
        if not isinstance(await self._decide(task, again), Flat):
            return
        if task.record.filled:
            note = f"{task.record.filled} exited; the rest of the position was already closed."
            await self._db(lambda: self._journal.finish(task.record.id, ExitState.DONE, note))
        else:
            await self._abort(task, "The position was already closed at the broker: no order was sent.")

    async def _abort(self, task: ExitTask, reason: str) -> None:
        await self._db(lambda: self._journal.finish(task.record.id, ExitState.ABORTED, reason))

    async def _send(self, task: ExitTask, order: OrderRecord) -> None:
        desk = await self._desk(task.account_id)
        request = await self._db(lambda: records.request(order.id))
        self._sending += 1
        try:
            result = await desk.place(request, lambda: self._db(lambda: self._journal.permit(order.id)))
            if result is not None:
                record = partial(self._journal.record_write, order.id, result)
                await self._until_committed(record, f"reply to order {order.tag}")
        finally:
            self._sending -= 1
        if result is not None and result.outcome is Outcome.NOT_SENT:
            await self._wait(self._nudges[task.record.id], RETRY_S)

    async def _watch(self, task: ExitTask, step: Watch) -> None:
        """Read the book for open orders, then rest until news or the next look."""
        await self._db(lambda: self._journal.concern(task.record.id, step.concern))
        nudge = self._nudges[task.record.id]
        nudge.clear()
        desk = await self._desk(task.account_id)
        read = await desk.read(not_before=self._clock.monotonic())
        found = 0
        for order in step.orders:
            row = find_in_book(order, list(read.orders))
            if row is not None:
                found += await self._db(partial(self._journal.record_book, order, row))
        if not found:
            await self._wait(nudge, _rest(step, self._clock.time()), clear=False)

    async def _ask_human(self, task: ExitTask, reason: str) -> None:
        """Tell a person, and keep looking whether the position has been closed by hand."""
        await self._db(lambda: self._journal.concern(task.record.id, reason))
        await self._wait(self._nudges[task.record.id], HUMAN_POLL_S)
        desk = await self._desk(task.account_id)
        read = await desk.read(not_before=self._clock.monotonic())
        if isinstance(await self._decide(task, read), Flat):
            await self._conclude_flat(task, desk, read)

    # --- helpers ------------------------------------------------------------------------

    async def _desk(self, account_id: int) -> AccountDesk:
        config = await self._db(lambda: records.config(account_id))
        desk = self._desks.desk(config)
        await desk.confirm_owner(config.client_id)
        return desk

    def _nudge(self, exit_id: int) -> None:
        if (event := self._nudges.get(exit_id)) is not None:
            event.set()

    async def _wait(self, event: asyncio.Event, seconds: float, *, clear: bool = True) -> None:
        """Wait for ``event``, at most ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        if clear:
            event.clear()

    async def _db(self, unit: Callable[[], T]) -> T:
        """Run one unit of database work on the journal's own thread and connection."""
        return await self._database.run(unit)

    async def _quietly(self, unit: Callable[[], Any]) -> None:
        try:
            await self._db(unit)
        except OperationalError:
            logger.critical("the database cannot be written", exc_info=True)


def _held(read: AccountRead, task: ExitTask, decision: Send) -> int:
    """Return the unsigned quantity of the position row that the plan was made from."""
    return sum(
        abs(position.quantity)
        for position in read.positions
        if position.symbol == task.need.symbol and position.product == decision.product
    )


def _rest(step: Watch, now: float) -> float:
    """Return how long to wait before the next look: every second at first, then every three."""
    unknown = any(order.state in (OrderState.SENDING, OrderState.UNKNOWN) for order in step.orders)
    oldest = min((order.sent_at for order in step.orders if order.sent_at is not None), default=now)
    return UNKNOWN_POLL_S if unknown and now - oldest > 10 else POLL_S
