"""Working one exit: the next step, done, until nothing is left to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from django.db import DatabaseError

from marketdata.database import DatabaseThread
from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerError
from marketdata.domain.orders import OrderRequest, Outcome, WriteResult
from strategies import records
from strategies.accounts import AccountDesk, AccountDesks, AccountRead
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.planning import Covered, Flat, Plan, Send, Unclear, plan
from strategies.domain.steps import (
    TELL_AFTER_S,
    AskHuman,
    Finish,
    OrderRecord,
    PlanOrder,
    SendOrder,
    Step,
    VoidOrder,
    Wait,
    Watch,
    failures,
    find_in_book,
    hold_up,
    next_step,
)
from strategies.journal import Journal
from strategies.records import ExitTask, MayTrade
from strategies.switches import Refusal

logger = logging.getLogger(__name__)
T = TypeVar("T")

POLL_S = 1.0
UNKNOWN_POLL_S = 3.0
HUMAN_POLL_S = 30.0
RETRY_S = 0.25
RETRY_MAX_S = 5.0
REFUSED_POLL_S = 5.0
COMMIT_RETRY_S = 0.1
LOOK_UP_S = 10.0
"""How long a refused order is looked for in a book that cannot be read, before its fate is unknown."""


class Workshop:
    """What every exit's worker shares: the journal and its thread, the brokers, the clock."""

    def __init__(self, journal: Journal, desks: AccountDesks, clock: Clock, may_trade: MayTrade) -> None:
        self.journal = journal
        self.desks = desks
        self.clock = clock
        self.may_trade = may_trade
        self.sending = 0  # place requests in hand
        self.permitting = 0  # permits being committed
        self.closing = asyncio.Event()  # nothing more may be sent
        self._database = DatabaseThread("exit-journal")

    async def db(self, unit: Callable[[], T]) -> T:
        """Run one unit of database work on the journal's own thread and connection."""
        return await self._database.run(unit)

    async def until_committed(self, unit: Callable[[], T], user_id: int, what: str) -> T:
        """Run a unit that must not be lost, whatever the database says and however long.

        Memory keeps it until then. A person is told after two seconds, without the database.
        """
        began, told = self.clock.monotonic(), False
        while True:
            try:
                return await self.db(unit)
            except Exception as exc:
                logger.critical("%s is not committed yet", what, exc_info=True)
                if not told and self.clock.monotonic() - began >= TELL_AFTER_S:
                    told = True
                    self.journal.alarm(user_id, f"The database cannot be written: {what} ({exc}).")
            await self.clock.sleep(COMMIT_RETRY_S if not told else POLL_S)

    async def desk(self, account_id: int) -> AccountDesk:
        """Return an account's desk, once its token is known to be its own. Raises ``BrokerError``."""
        config = await self.db(partial(records.config, account_id))
        desk = self.desks.desk(config)
        await desk.confirm_owner(config.client_id)
        return desk

    def close(self) -> None:
        self.desks.close()
        self._database.close()


class ExitWorker:
    """Takes one exit from wherever its record says it is to its end."""

    def __init__(self, exit_id: int, shop: Workshop) -> None:
        self.tags: set[str] = set()
        self._exit_id = exit_id
        self._shop = shop
        self._news = asyncio.Event()
        self._failing_since: float | None = None
        self._covered_since: float | None = None

    def nudge(self) -> None:
        """Look again now: something may have happened at the broker."""
        self._news.set()

    async def run(self) -> None:
        """Do one step after the other until the exit is final. No error ends it."""
        while True:
            try:
                if await self._advance():
                    return
                self._failing_since = None
            except BrokerError as exc:
                await self._failed(f"The broker cannot be read: {exc}")
            except Exception as exc:
                logger.exception("exit %s: step failed", self._exit_id)
                await self._failed(f"A step of the exit failed: {exc}")

    async def _advance(self) -> bool:
        task = await self._shop.db(partial(records.load, self._exit_id, self._shop.may_trade))
        if task.record.state.is_final:
            return True
        self.tags = {order.tag for order in task.record.orders}
        now = self._shop.clock.time()
        if trouble := hold_up(task.record, now):
            await self._tell(trouble)
        await self._do(task, next_step(task.record, now))
        return False

    async def _do(self, task: ExitTask, step: Step) -> None:
        match step:
            case PlanOrder():
                await self._plan(task)
            case SendOrder(order):
                await self._send(task, order)
            case VoidOrder(order):
                await self._shop.db(
                    lambda: self._shop.journal.void(order.id, "planned too long ago: never sent")
                )
            case Watch():
                await self._watch(task, step)
            case Wait(seconds):
                await self._rest(seconds)
            case Finish():
                await self._finish(ExitState.DONE, "", is_flat=True)
            case AskHuman(reason):
                await self._ask_human(task, reason)

    # --- planning -----------------------------------------------------------------------

    async def _plan(self, task: ExitTask) -> None:
        if task.refusal:
            return await self._refuse(task, task.refusal)
        desk = await self._shop.desk(task.account_id)
        await desk.turn()  # before the plan, which must not grow old waiting
        read = await desk.read()
        match await self._decide(task, read):
            case Send() as send:
                if not await self._commit_plan(send, read):
                    await self._wait_for_others()
            case Covered():
                await self._wait_for_others()
            case Flat():
                await self._conclude_flat(task, desk, read)
            case Unclear(reason):
                await self._ask_human(task, f"It is not clear which position to close: {reason}.")
        return None

    async def _refuse(self, task: ExitTask, refusal: Refusal) -> None:
        """Wait for the switch while the breach is of today; an old one must not sell when it is turned."""
        triggered, now = (records.trading_day(t) for t in (task.triggered_at, self._shop.clock.time()))
        if refusal.is_final or triggered != now:
            return await self._finish(ExitState.ABORTED, refusal.text, is_flat=False)
        await self._tell(refusal.text)
        return await self._rest(REFUSED_POLL_S)

    async def _decide(self, task: ExitTask, read: AccountRead) -> Plan:
        own = await self._shop.db(partial(records.own_orders, task.account_id, read.began_at))
        return plan(task.need, read.positions, own)

    async def _commit_plan(self, send: Send, read: AccountRead) -> bool:
        self._covered_since = None
        return await self._shop.db(partial(self._shop.journal.plan_order, self._exit_id, send, read.began_at))

    async def _wait_for_others(self) -> None:
        """Everything held is on its way out already: look again when those orders may have ended."""
        now = self._shop.clock.monotonic()
        self._covered_since = self._covered_since or now
        if now - self._covered_since >= TELL_AFTER_S:
            await self._tell("Other exit orders on their way cover the whole position: waiting for them.")
        await self._rest(POLL_S)

    async def _conclude_flat(self, task: ExitTask, desk: AccountDesk, read: AccountRead) -> None:
        """Believe "nothing held" only when a second, newer read says the same."""
        again = await desk.read(not_before=max(read.began + 0.001, self._shop.clock.monotonic()))
        if not isinstance(await self._decide(task, again), Flat):
            return
        if filled := task.record.filled:
            note = f"{filled} exited; the rest of the position was already closed."
            await self._finish(ExitState.DONE, note, is_flat=True)
        else:
            note = "The position was already closed at the broker: no order was sent."
            await self._finish(ExitState.ABORTED, note, is_flat=True)

    async def _finish(self, state: ExitState, note: str, *, is_flat: bool) -> None:
        await self._shop.db(partial(self._shop.journal.finish, self._exit_id, state, note, is_flat=is_flat))

    # --- sending ------------------------------------------------------------------------

    async def _send(self, task: ExitTask, order: OrderRecord) -> None:
        if task.refusal:
            return await self._shop.db(partial(self._shop.journal.void, order.id, task.refusal.text))
        desk = await self._shop.desk(task.account_id)
        request = await self._shop.db(partial(records.request, order.id))
        # Once the permit is asked for, its outcome is written down whatever ends this worker.
        sent = await asyncio.shield(asyncio.create_task(self._place(task, order, request, desk)))
        if not sent:
            await self._rest(min(RETRY_S * 2 ** min(failures(task.record), 10), RETRY_MAX_S))
        return None

    async def _place(
        self, task: ExitTask, order: OrderRecord, request: OrderRequest, desk: AccountDesk
    ) -> bool:
        """Send one order and commit how that ended; True when it may have left."""
        self._shop.sending += 1
        try:
            result = await desk.place(request, partial(self._permit, order))
            if result is None:
                return False
            if result.outcome is Outcome.REJECTED and await self._is_booked(task, order, result, desk):
                return True
            record = partial(self._shop.journal.record_write, order.id, result)
            await self._shop.until_committed(record, task.user_id, f"the reply to order {order.tag}")
            return result.outcome is not Outcome.NOT_SENT
        finally:
            self._shop.sending -= 1

    async def _permit(self, order: OrderRecord) -> bool:
        if self._shop.closing.is_set():
            return False
        self._shop.permitting += 1
        try:
            won = await self._shop.db(partial(self._shop.journal.permit, order.id, self._shop.may_trade))
            if won and self._shop.closing.is_set():  # the process ends: write down that nothing was sent
                stopped = WriteResult(Outcome.NOT_SENT, message="stopped before it was sent")
                await self._shop.db(partial(self._shop.journal.record_write, order.id, stopped))
                return False
            return won
        finally:
            self._shop.permitting -= 1

    async def _is_booked(
        self, task: ExitTask, order: OrderRecord, result: WriteResult, desk: AccountDesk
    ) -> bool:
        """Look a refused order up by its tag: where the book has it, the book is right."""
        journal, what = self._shop.journal, f"the reply to order {order.tag}"
        try:
            read = await self._read_within(desk, LOOK_UP_S)
        except BrokerError as exc:
            unknown = WriteResult(Outcome.UNKNOWN, message=f"{result.message}; {exc}")
            unit = partial(journal.record_write, order.id, unknown)
            await self._shop.until_committed(unit, task.user_id, what)
            return True
        row = find_in_book(order, read.orders)
        if row is None:
            return False
        booked = partial(journal.record_book, order, row, result.reject_class)
        await self._shop.until_committed(booked, task.user_id, what)
        return True

    async def _read_within(self, desk: AccountDesk, seconds: float) -> AccountRead:
        """Read the account anew, trying again for ``seconds``. Raises ``BrokerError`` after that."""
        deadline = self._shop.clock.monotonic() + seconds
        while True:
            try:
                return await desk.read(not_before=self._shop.clock.monotonic())
            except BrokerError:
                if self._shop.clock.monotonic() >= deadline:
                    raise

    # --- supervising --------------------------------------------------------------------

    async def _watch(self, task: ExitTask, step: Watch) -> None:
        """Read the book for open orders, then rest until news or the next look."""
        await self._tell(step.concern)
        self._news.clear()
        desk = await self._shop.desk(task.account_id)
        read = await desk.read(not_before=self._shop.clock.monotonic())
        changed = [await self._compare(order, read) for order in step.orders]
        if not any(changed):
            await self._rest(_pace(step, self._shop.clock.time()))

    async def _compare(self, order: OrderRecord, read: AccountRead) -> bool:
        row = find_in_book(order, read.orders)
        if row is None:
            return False
        return await self._shop.db(partial(self._shop.journal.record_book, order, row))

    async def _ask_human(self, task: ExitTask, reason: str) -> None:
        """Tell a person, and keep looking whether the position has been closed by hand."""
        await self._tell(reason)
        await self._rest(HUMAN_POLL_S)
        desk = await self._shop.desk(task.account_id)
        read = await desk.read(not_before=self._shop.clock.monotonic())
        if isinstance(await self._decide(task, read), Flat):
            await self._conclude_flat(task, desk, read)

    async def _failed(self, text: str) -> None:
        """Rest before the next try; tell a person once it has gone on for two seconds."""
        now = self._shop.clock.monotonic()
        self._failing_since = self._failing_since or now
        long = now - self._failing_since >= TELL_AFTER_S
        if long:
            try:
                await self._tell(f"{text}. Trying again all the time.")
            except DatabaseError:
                logger.critical("exit %s: %s; and the database cannot be written", self._exit_id, text)
        await self._rest(POLL_S if long else RETRY_S)

    async def _tell(self, concern: str) -> None:
        await self._shop.db(partial(self._shop.journal.concern, self._exit_id, concern))

    async def _rest(self, seconds: float) -> None:
        """Wait for news, at most ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass
        self._news.clear()


def _pace(step: Watch, now: float) -> float:
    """Return how long to rest between looks: every second at first, for an unknown order then every three."""
    unknown = any(order.state in (OrderState.SENDING, OrderState.UNKNOWN) for order in step.orders)
    oldest = min((order.sent_at for order in step.orders if order.sent_at is not None), default=now)
    return UNKNOWN_POLL_S if unknown and now - oldest > 10 else POLL_S
