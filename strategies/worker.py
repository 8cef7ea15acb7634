"""Working one exit: what its steps ask for is done, and how that ended is the next step's event.

Nothing is decided here. A step is committed before what it asks for is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TypeVar

from marketdata import crashpoints
from marketdata.domain.errors import BrokerError
from marketdata.domain.leasing import NotOwner
from marketdata.domain.orders import Outcome, Quote, WriteResult
from marketdata.ports import OrderWire
from strategies import records
from strategies.accounts import AccountDesk, AccountRead
from strategies.domain.events import (
    CancelAnswered,
    CancelOrder,
    Circumstances,
    Command,
    End,
    Event,
    Note,
    Opened,
    OpenWire,
    ReadAccount,
    Rest,
    Seen,
    SendOrder,
    TakeTurn,
    Tell,
    TurnGiven,
    Unanswered,
    Unopened,
    Unread,
    Woken,
    Written,
)
from strategies.domain.record import Memory, OrderRecord, State
from strategies.domain.sentences import TELL_AFTER_S
from strategies.domain.steps import step
from strategies.journal import Overtaken
from strategies.records import ExitTask, trading_day
from strategies.workshop import ALARM_AGAIN_S, Workshop

logger = logging.getLogger(__name__)
T = TypeVar("T")

FAILED_REST_S = 0.25
FAILED_REST_MAX_S = 5.0


class Stopping(Exception):
    """The process ends: nothing more may be sent."""


class ExitWorker:
    """Takes one exit from wherever its record says it is to its end.

    Args:
        exit_id: Which.
        user_id: Whose.
        shop: What all workers share.
        task: The exit as it was just written; None: it is read.

    """

    def __init__(self, exit_id: int, user_id: int, shop: Workshop, task: ExitTask | None = None) -> None:
        self.user_id = user_id
        self.exit_id = exit_id
        self._shop = shop
        self._news = asyncio.Event()
        self._task = task
        self._memory = Memory()
        self._wire: OrderWire | None = None
        self._has_turn = False
        self._is_outdated = False
        self._failing_since: float | None = None
        self._failures = 0
        self._told_at = float("-inf")
        self._is_forbidden = False
        self.is_permitting = False

    @property
    def tags(self) -> set[str]:
        return {order.tag for order in self._task.record.orders} if self._task else set()

    @property
    def _lane(self) -> object:
        """Whose turn at the database it is: what is about to leave does not queue behind what waits to."""
        return (self.user_id, "leaving") if self._has_turn or self._wire is not None else self.user_id

    def nudge(self) -> None:
        """Look again now: something may have happened at the broker."""
        self._news.set()

    def forbid(self) -> None:
        """Send nothing from now on: this process no longer owns the exit."""
        self._is_forbidden = True

    def look_at(self, version: int | None) -> None:
        """Load the record anew when it has changed from outside; None: it is no longer open."""
        if self._task is not None and (version is None or self._task.record.version < version):
            self._is_outdated = True
            self.nudge()

    async def run(self, first: Event | None = None) -> None:
        """Do one step after the other until the exit is final. No error ends it."""
        try:
            await self._run(first)
        finally:
            self._give_back_turn(())

    async def _run(self, event: Event | None) -> None:
        while True:
            try:
                event = await self._advance(event or Woken(self._shop.moment()))
                self._failures, self._failing_since, self._told_at = 0, None, float("-inf")
                if event is None:
                    return
            except (Stopping, NotOwner):
                return
            except Overtaken:  # somebody else changed the record: everything starts anew from there
                event, self._is_outdated = None, True
                await self._shop.clock.sleep(0)
            except Exception as exc:  # its end would leave the exit to nobody
                logger.exception("exit %s: step failed", self.exit_id)
                event = None
                await self._failed(exc)
            finally:
                if not isinstance(event, Opened):
                    await self._let_go()

    # --- one step -----------------------------------------------------------------------

    async def _advance(self, event: Event) -> Event | None:
        """Take one step, commit it, do what it asks for; return how that ended, or None at the end."""
        task = await self._current()
        after, commands = step(State(task.record, self._memory), event)
        self._give_back_turn(commands)
        return await self._carry_out(task, after, event, commands)

    async def _current(self) -> ExitTask:
        if self._task is None or self._is_outdated:
            self._is_outdated = False
            self._task = await self._shop.db(partial(records.load, self.exit_id), self._lane)
        return self._task

    async def _carry_out(
        self, task: ExitTask, after: State, event: Event, commands: tuple[Command, ...]
    ) -> Event | None:
        command = _to_do(commands)
        if isinstance(command, SendOrder):
            # From the permit on, how it ended is written down whatever ends this worker.
            sent = asyncio.create_task(self._send_and_record(task, after, event, commands))
            command = await asyncio.shield(sent)
        else:
            await self._commit(task, after, event, commands)
        return await self._do(self._latest(), command)

    async def _commit(
        self, task: ExitTask, after: State, event: Event, commands: tuple[Command, ...]
    ) -> None:
        if after.record != task.record or any(isinstance(command, Tell | Note) for command in commands):
            unit = partial(self._shop.journal.commit, task, after.record, event, commands)
            if isinstance(event, Written):  # what is known of an order must not be lost
                what = f"the reply to order {event.tag}"
                record = await self._shop.until_committed(unit, task.user_id, what)
            elif isinstance(_to_do(commands), OpenWire | SendOrder):  # a plan must not get old in a queue
                record = await self._shop.urgent_db(unit)
            elif isinstance(_to_do(commands), End):  # nobody waits for it
                await self._shop.precedence.wait(self)
                record = await self._shop.ending_db(unit, self._lane)
            else:
                record = await self._shop.db(unit, self._lane)
            self._task = replace(task, record=record)
        self._memory = after.memory

    def _latest(self) -> ExitTask:
        if self._task is None:
            raise RuntimeError("no exit was loaded")
        return self._task

    # --- sending ------------------------------------------------------------------------

    async def _send_and_record(
        self, task: ExitTask, after: State, event: Event, commands: tuple[Command, ...]
    ) -> Command:
        """Commit the permit, send once, commit how that ended; return what is to be done next."""
        self._shop.sending += 1
        try:
            order = next(command for command in commands if isinstance(command, SendOrder))
            result = await self._permit_and_send(task, after, event, commands)
            crashpoints.passing("CP8")
            return await self._record(Written(self._shop.moment(), order.tag, result))
        finally:
            await self._let_go()
            self._shop.sending -= 1

    async def _permit_and_send(
        self, task: ExitTask, after: State, event: Event, commands: tuple[Command, ...]
    ) -> WriteResult:
        wire, desk = self._wire, self._shop.known_desk(task.account_id)
        if wire is None or desk is None or self._may_not_send():
            raise Stopping
        began = self._shop.clock.monotonic()
        self._shop.permitting += 1
        self.is_permitting = True
        try:
            await self._commit(task, after, event, commands)
        finally:
            self._shop.permitting -= 1
            self.is_permitting = False
        if self._may_not_send():  # the process ends: write down that nothing was sent
            return WriteResult(Outcome.NOT_SENT, message="stopped before it was sent")
        self._wire = None
        sending = asyncio.create_task(desk.send(wire, began))
        try:
            return await self._patiently(sending, lambda: Unanswered(self._shop.moment()))
        finally:
            self._shop.precedence.end(self)

    async def _patiently(self, work: asyncio.Task[T], slow: Callable[[], Event]) -> T:
        """Wait for something of the broker; when it takes long, have a person told meanwhile."""
        waiting = asyncio.create_task(self._shop.clock.sleep(TELL_AFTER_S))
        try:
            await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._tell_slow(slow())
        finally:
            waiting.cancel()
        return await work

    async def _tell_slow(self, event: Event) -> None:
        try:
            latest = await self._current()
            after, commands = step(State(latest.record, self._memory), event)
            await self._commit(latest, after, event, commands)
        except Exception:  # what matters is the answer
            logger.exception("exit %s: could not tell that the broker is slow to answer", self.exit_id)

    def _may_not_send(self) -> bool:
        return self._shop.closing.is_set() or self._is_forbidden

    async def _record(self, written: Written) -> Command:
        while True:
            if self._is_outdated:  # what is known of an order must not be lost to a database that fails
                self._is_outdated, load = False, partial(records.load, self.exit_id)
                what = f"the reply to order {written.tag}"
                self._task = await self._shop.until_committed(load, self.user_id, what)
            task = self._latest()
            after, commands = step(State(task.record, self._memory), written)
            try:
                await self._commit(task, after, written, commands)
            except Overtaken:
                self._is_outdated = True
            else:
                return _to_do(commands)

    # --- doing --------------------------------------------------------------------------

    async def _do(self, task: ExitTask, command: Command) -> Event | None:
        match command:
            case End():
                return None
            case Rest(seconds):
                return await self._rest(seconds)
            case TakeTurn(loss_rate):
                return await self._take_turn(task, loss_rate)
            case ReadAccount():
                return await self._read(task, command)
            case OpenWire(tag):
                return await self._open(task, tag)
            case CancelOrder(tag, order_id):
                return await self._cancel(task, tag, order_id)
            case SendOrder() | Tell() | Note():
                raise RuntimeError(f"{command} is not done by itself")

    async def _rest(self, seconds: float) -> Event:
        """Wait for news, at most ``seconds``."""
        self._shop.precedence.end(self)
        if seconds > 0 and not self._news.is_set():
            waiting = asyncio.create_task(self._news.wait())
            resting = asyncio.create_task(self._shop.clock.sleep(seconds))
            try:
                await asyncio.wait({waiting, resting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                resting.cancel()
        else:
            await self._shop.clock.sleep(0)  # whatever a step asks for, the others get their turn
        self._news.clear()
        return Woken(self._shop.moment())

    async def _take_turn(self, task: ExitTask, loss_rate: int) -> Event:
        try:
            desk = await self._shop.desk(task.account_id, self.user_id)
        except BrokerError as exc:
            return Unread(self._shop.moment(), str(exc))
        await desk.turns.take(loss_rate)
        self._has_turn = True
        self._shop.precedence.begin(self)
        return TurnGiven(self._shop.moment())

    def _give_back_turn(self, commands: tuple[Command, ...]) -> None:
        """A turn that has come to no order is somebody else's."""
        if self._has_turn and not any(isinstance(c, ReadAccount | OpenWire | SendOrder) for c in commands):
            self._has_turn = False
            if self._task and (desk := self._shop.known_desk(self._task.account_id)):
                desk.turns.give_back()

    async def _read(self, task: ExitTask, wanted: ReadAccount) -> Event:
        if not wanted.for_plan:  # what has left is there already
            self._shop.precedence.end(self)
            await self._shop.precedence.wait()
        self._news.clear()
        began, symbol = self._shop.clock.monotonic(), task.record.symbol
        reading = asyncio.create_task(self._desk_and_read(task, wanted))
        try:
            desk, quote, read = await self._patiently(reading, lambda: self._slow(began))
        except BrokerError as exc:
            return Unread(self._shop.moment(), str(exc), began)
        finally:
            reading.cancel()
        around = await self._around(task, read.began_at) if wanted.for_plan else None
        at = self._shop.moment()
        crashpoints.passing("CP4")
        return Seen(
            at=at,
            began=read.began,
            began_at=read.began_at,
            book=read.orders,
            positions=read.positions,
            trades=read.trades if wanted.trades else None,
            heard=dict(desk.heard) if wanted.trades else {},
            known=await self._known(task, at.today) if wanted.trades else (),
            around=around,
            quote=quote,
            is_trading=self._shop.is_trading(symbol, at.time),
            orders_left=desk.orders_left,
            spare_orders=desk.cap.spare,
        )

    def _slow(self, began: float) -> Unread:
        return Unread(self._shop.moment(), "it takes long to answer", began)

    async def _desk_and_read(
        self, task: ExitTask, wanted: ReadAccount
    ) -> tuple[AccountDesk, Quote | None, AccountRead]:
        """Read the account last: what is planned is planned from it."""
        desk = await self._shop.desk(task.account_id, self.user_id)
        quote = await self._quote(desk, task.record.symbol) if wanted.quote else None
        not_before = self._shop.clock.monotonic() if wanted.anew else None
        read = await desk.read(not_before=not_before, trades=wanted.trades)
        if trading_day(read.began_at) != self._shop.moment().today:  # asleep meanwhile: it is of another day
            read = await desk.read(not_before=self._shop.clock.monotonic(), trades=wanted.trades)
        return desk, quote, read

    async def _quote(self, desk: AccountDesk, symbol: str) -> Quote | None:
        """Return a quote, or none: a market order needs none, and an exit must not wait for one."""
        try:
            return await desk.quote(symbol)
        except BrokerError as exc:
            logger.warning("no quote of %s: %s", symbol, exc)
            return None

    async def _around(self, task: ExitTask, read_at: float) -> Circumstances:
        shop, today = self._shop, self._shop.moment().today
        unit = partial(
            records.circumstances, task, read_at, today, shop.journal.may_trade, shop.journal.new_tag()
        )
        return await shop.db(unit, self._lane)

    async def _known(self, task: ExitTask, today: date) -> Sequence[OrderRecord]:
        return await self._shop.db(partial(records.orders_of_day, task.account_id, today), self.user_id)

    async def _open(self, task: ExitTask, tag: str) -> Event:
        try:
            desk = await self._shop.desk(task.account_id, self.user_id)
            has_turn, self._has_turn = self._has_turn, False
            self._wire = await desk.open(task.record.request(tag), has_turn=has_turn)
        except BrokerError as exc:
            return Unopened(self._shop.moment(), tag, str(exc))
        return Opened(self._shop.moment(), tag)

    async def _cancel(self, task: ExitTask, tag: str, order_id: str) -> Event:
        """Ask for a cancel, once. Whatever comes of it, the book is read next."""
        try:
            desk = await self._shop.desk(task.account_id, self.user_id)
            result = await desk.cancel(order_id)
            logger.info("cancel of order %s: %s %s", tag, result.outcome, result.message)
        except BrokerError as exc:
            logger.warning("order %s could not be cancelled now: %s", tag, exc)
        crashpoints.passing("CP12")
        return CancelAnswered(self._shop.moment(), tag)

    # --- trouble ------------------------------------------------------------------------

    async def _let_go(self) -> None:
        """Close the connection of an order that is not to be sent after all."""
        wire, self._wire = self._wire, None
        if wire is not None and (desk := self._shop.known_desk(self._latest().account_id)):
            desk.give_up(wire)

    async def _failed(self, exc: Exception) -> None:
        """Rest before the next try; tell a person, without the database, when it goes on for two seconds.

        And again each minute.
        """
        self._shop.precedence.end(self)
        now = self._shop.clock.monotonic()
        self._failing_since = self._failing_since if self._failing_since is not None else now
        before, self._failures = self._failures, self._failures + 1
        if now - self._failing_since >= TELL_AFTER_S and now - self._told_at >= ALARM_AGAIN_S:
            self._told_at = now
            text = f"Exit {self.exit_id} does not get on: {exc}. Trying again all the time."
            self._shop.journal.alarm(self.user_id, text)
        await self._shop.clock.sleep(min(FAILED_REST_S * 2 ** min(before, 10), FAILED_REST_MAX_S))


def _to_do(commands: tuple[Command, ...]) -> Command:
    """Return the one command that is done; what is to be told is committed with the step."""
    return next(command for command in commands if not isinstance(command, Tell | Note))
