"""The notifier: hands every committed alert to every channel, again until somebody answers.

Each channel has a thread of its own while it is told something, so one that fails or hangs
delays no other, and none holds up the event loop or a transaction.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError

from marketdata import crashpoints
from marketdata.database import DatabaseThread
from marketdata.domain.clock import Clock
from marketdata.precedence import Precedence
from strategies import deliveries
from strategies.channels import Channel, ChannelError, PageChannel
from strategies.deliveries import Recipient
from strategies.models import Alert
from strategies.personal import Own, Version, read_own
from strategies.switches import mode_unasked
from strategies.telling import Telling

logger = logging.getLogger(__name__)

SWEEP_S = 1.0
"""How soon an alert that nobody announced is found."""
GATHER_S = 0.1
"""Alerts that are committed this close together go out in one message."""
SEND_WITHIN_S = 10.0
HANGING_MAX = 3
"""Messages of one channel that may hang at once before it is left alone until one ends."""
ALARM_TRIES = 8
DRAIN_S = 2.0


class Pipe:
    """One channel with the thread it is told in."""

    def __init__(self, channel: Channel, recipient: Recipient | None = None) -> None:
        self.name = channel.name
        self.recipient = recipient or Recipient(channel.name)
        self.is_busy = False
        self._channel = channel
        self._hanging = 0

    async def tell(self, tellings: Sequence[Telling]) -> None:
        """Tell within ten seconds. Raises ``ChannelError``."""
        if self._hanging >= HANGING_MAX:
            raise ChannelError(f"{self._hanging} earlier messages are still without an answer")
        sent = in_thread(f"alert-{self.name}", lambda: self._channel.tell(tellings))
        try:
            async with asyncio.timeout(SEND_WITHIN_S):
                await asyncio.shield(sent)
        except TimeoutError:
            self._hanging += 1
            sent.add_done_callback(self._ended)
            raise ChannelError(f"no answer within {SEND_WITHIN_S:.0f} s") from None
        except Exception as exc:
            if isinstance(exc, ChannelError):
                raise
            logger.exception("%s failed", self.name)
            raise ChannelError(f"failed with {type(exc).__name__}") from exc

    def _ended(self, sent: asyncio.Future[None]) -> None:
        self._hanging -= 1
        if not sent.cancelled():
            sent.exception()  # looked at: what it says has come too late


class Notifier:
    """Finds what is to be told and tells it. Made on the event loop it runs on."""

    def __init__(
        self,
        page: PageChannel,
        others: Sequence[Channel],
        clock: Clock,
        precedence: Precedence | None = None,
    ) -> None:
        self._page = page
        self._shared = [Pipe(channel) for channel in (page, *others)]
        self._own: dict[str, tuple[Version, Pipe]] = {}  # by name
        self._clock = clock
        self._database = DatabaseThread("alerts", precedence=precedence)
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_failing = False

    def announce(self, user_id: int, body: Mapping[str, Any]) -> None:
        """Tell the pages at once, and have the other channels told what is urgent; from any thread, returns at once.

        A body without an id is no row: it comes while the database fails, and goes out without it.
        """
        if body.get("id"):
            self._page.tell_now(user_id, dict(body))
            if body.get("urgency") != Alert.Urgency.INFO:  # news go out together, within a second
                self._call(self._wake.set)
            return
        alarm = {"mode": mode_unasked(), **body}
        self._page.tell_now(user_id, alarm)
        self._call(lambda: self._alarm(Telling(user_id, f"user {user_id}", alarm)))

    def commit(self, user_id: int, unit: Callable[[], Mapping[str, Any] | None], otherwise: str) -> None:
        """Commit an alert in the notifier's own thread and announce it; returns at once.

        ``unit`` returns the alert's body, or None where nothing is new. Where the database fails,
        the text ``otherwise``, if any, is told without it.
        """
        self._begin(self._commit(user_id, unit, otherwise))

    async def run(self) -> None:
        """Look each second, and at once when told to, until cancelled."""
        while True:
            try:
                await self.sweep()
            except DatabaseError as exc:
                self._failed(exc)
            else:
                self._is_failing = False
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self._wake.wait()
            await self._clock.sleep(GATHER_S)

    async def sweep(self) -> list[asyncio.Task[None]]:
        """Begin to tell what is due, through every channel that is not busy; return what was begun.

        Raises:
            DatabaseError: The database could not be read or written; nothing was begun.

        """
        self._wake.clear()
        self._keep_own(await self._database.run(read_own, {name: at for name, (at, _) in self._own.items()}))
        pipes = [*self._shared, *(pipe for _, pipe in self._own.values())]
        idle = {pipe.name: pipe for pipe in pipes if not pipe.is_busy}
        recipients = [pipe.recipient for pipe in pipes]
        taken = await self._database.run(deliveries.take, recipients, list(idle), self._now())
        for name in taken:
            idle[name].is_busy = True
        return [self._begin(self._deliver(idle[name], tellings)) for name, tellings in taken.items()]

    async def drain(self) -> None:
        """Tell what is due now, for up to two seconds: the process is about to end."""
        with suppress(TimeoutError, DatabaseError):
            async with asyncio.timeout(DRAIN_S):
                await self.sweep()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Let go of the database and of what is still under way."""
        for task in self._tasks:
            task.cancel()
        self._database.close()

    # --- inside ---------------------------------------------------------------------------

    async def _commit(
        self, user_id: int, unit: Callable[[], Mapping[str, Any] | None], otherwise: str
    ) -> None:
        try:
            body = await self._database.run(unit)
        except DatabaseError as exc:
            self._failed(exc)
            body = {"text": otherwise, "at": self._clock.time()} if otherwise else None
        if body is not None:
            self.announce(user_id, body)

    async def _deliver(self, pipe: Pipe, tellings: Sequence[Telling]) -> None:
        error = ""
        try:
            await pipe.tell(tellings)
            crashpoints.passing("CP16")
        except ChannelError as exc:
            error = str(exc)
            logger.warning("%s could not be told of %d alert(s): %s", pipe.name, len(tellings), error)
        finally:
            pipe.is_busy = False
        try:
            await self._database.run(deliveries.record, tellings, error, self._now())
        except DatabaseError as exc:  # the claim runs out, and it is told once more
            self._failed(exc)
        self._wake.set()

    def _keep_own(self, found: Sequence[Own]) -> None:
        """Have a pipe for each channel that users have now; one that was changed begins anew."""
        kept = {}
        for own in found:
            name = own.recipient.name
            pipe = self._own[name][1] if own.channel is None else Pipe(own.channel, own.recipient)
            kept[name] = (own.version, pipe)
        self._own = kept

    def _alarm(self, telling: Telling) -> None:
        theirs = [pipe for _, pipe in self._own.values() if pipe.recipient.user_id == telling.user_id]
        for pipe in (*self._shared[1:], *theirs):
            self._begin(self._insist(pipe, telling))

    async def _insist(self, pipe: Pipe, telling: Telling) -> None:
        """Tell what no row will remember, trying again for some minutes."""
        for failures in range(ALARM_TRIES):
            try:
                return await pipe.tell([telling])
            except ChannelError as exc:
                logger.warning("%s could not be told of an alarm: %s", pipe.name, exc)
                await self._clock.sleep(min(2**failures, deliveries.RETRY_MAX_S))
        return None

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _call(self, what: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the next start finds the row
            self._loop.call_soon_threadsafe(what)

    def _failed(self, error: DatabaseError) -> None:
        if not self._is_failing:
            logger.warning("alerts cannot be read or written (%s): trying again each second", error)
        self._is_failing = True

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


def in_thread(name: str, call: Callable[[], None]) -> asyncio.Future[None]:
    """Run ``call`` in a thread that keeps nobody from ending; the future has how it ended."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def work() -> None:
        error: BaseException | None = None
        try:
            call()
        except BaseException as exc:  # noqa: BLE001 - handed to whoever waits
            error = exc
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(finish, error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return done
