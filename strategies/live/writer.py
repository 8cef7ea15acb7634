"""The only sender of one socket: the snapshot, news in order, the latest prices, a heartbeat."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings

from marketdata.domain.clock import Clock
from strategies.live.changes import changed_rows, is_same_set, new_events, snapshot
from strategies.live.outbox import Counters, PriceOutbox
from strategies.live.prices import read_prices
from strategies.live.state import State, read_state

STALLED = 4408
PRICES_EVERY_S = 0.2
HEARTBEAT_EVERY_S = 1.0
SNAPSHOT_EVERY_S = 0.5
CHECK_EVERY_S = 4.0
SEND_WITHIN_S = 5.0
NEWS_KEPT = 500


class SocketOver(Exception):
    """This socket has to end, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class PageWriter:
    """What one page still has to be told.

    Others only put things away here, at once and without waiting; ``run`` alone sends.

    Args:
        user_id: Whose page.
        clock: The wall clock stamps frames, the monotonic one paces them.
        send: Sends one text frame.
        check: Called every few seconds; raises ``SocketOver`` when the page may see no more.
        credit: Price frames that may be under way unacknowledged.
        patience_s: How long a page may keep its credit used up.

    """

    def __init__(
        self,
        user_id: int,
        clock: Clock,
        *,
        send: Callable[[str], Awaitable[None]],
        check: Callable[[], Awaitable[None]],
        credit: int = 4,
        patience_s: float = 10.0,
    ) -> None:
        self._user_id = user_id
        self._clock = clock
        self._send = send
        self._check = check
        self._outbox = PriceOutbox(credit=credit, patience_s=patience_s)
        self._news: deque[tuple[str, Mapping[str, Any]]] = deque()
        self._counters = Counters()
        self._state = State()
        self._seq = 0
        self._listeners_at: int | None = None
        self._snapshot_wanted = True
        self._look_again = False
        self._prices_due = self._check_due = self._snapshot_due = 0.0
        self._heartbeat_at = float("-inf")
        self._is_beat_news = False
        self._wake = asyncio.Event()

    # --- put away -----------------------------------------------------------------------

    def take_prices(self, message: Mapping[str, Any]) -> None:
        """Keep a publisher's prices, the latest of each symbol."""
        self._count(message)
        self._outbox.merge(message["prices"])

    def take_news(self, message: Mapping[str, Any]) -> None:
        """Keep a publisher's news, in order."""
        self._count(message)
        if message["kind"] == "heartbeat":
            self._listeners_at = self._now_ms()
            self._is_beat_news = True
        else:
            self.say(message["kind"], message["body"])

    def say(self, kind: str, body: Mapping[str, Any]) -> None:
        """Have this page alone told something."""
        if len(self._news) >= NEWS_KEPT:  # a page that reads nothing: start over with it
            self._news.clear()
            self._snapshot_wanted = True
        self._news.append((kind, body))
        self._wake.set()

    def ack(self, seq: int) -> None:
        """Count a price frame, and all before it, as read."""
        self._outbox.ack(seq)

    def want_snapshot(self) -> None:
        """Send everything once more."""
        self._snapshot_wanted = True
        self._wake.set()

    def _count(self, message: Mapping[str, Any]) -> None:
        source = message.get("source", "")
        if source and self._counters.has_gap(source, message["n"]):
            self.want_snapshot()

    # --- send ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Send until cancelled.

        Raises:
            SocketOver: The page stopped reading, or may see no more.

        """
        while True:
            self._wake.clear()
            await self._step(self._clock.monotonic())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), PRICES_EVERY_S / 4)

    async def _step(self, now: float) -> None:
        if now >= self._check_due:
            # Where nothing reaches us from the listeners' process, the database is all there is.
            self._check_due = now + (CHECK_EVERY_S if settings.REDIS_URL else CHECK_EVERY_S / 2)
            self._look_again = True
            await self._check()
        if self._snapshot_wanted and now >= self._snapshot_due:
            self._snapshot_due = now + SNAPSHOT_EVERY_S
            await self._send_snapshot()
        await self._send_news()
        if self._look_again:
            await self._send_changes()
        await self._send_prices(now)
        await self._send_heartbeat(now)

    async def _send_heartbeat(self, now: float) -> None:
        """Each second, and sooner with news of the listeners: the page judges them by its age."""
        pause = HEARTBEAT_EVERY_S / 2 if self._is_beat_news else HEARTBEAT_EVERY_S
        if now >= self._heartbeat_at + pause:
            self._heartbeat_at, self._is_beat_news = now, False
            await self._put("heartbeat", listeners_at=self._listeners_at)

    async def _send_snapshot(self) -> None:
        self._snapshot_wanted = self._look_again = False
        self._state = await self._read()
        prices = await read_prices(self._state.symbols)
        await self._put("snapshot", **snapshot(self._state, prices))

    async def _send_news(self) -> None:
        while self._news:
            kind, body = self._news.popleft()
            self._look_again = self._look_again or kind != "alert" or "id" in body
            await self._put(kind, body=body)

    async def _send_changes(self) -> None:
        """Say what is different in the database since the last look."""
        self._look_again = False
        before, self._state = self._state, await self._read()
        if not is_same_set(before, self._state):
            self.want_snapshot()
            return
        for kind, row in changed_rows(before, self._state):
            await self._put(kind, row=row)
        for event in new_events(before, self._state):
            await self._put("listener" if event["strategy"] is None else "strategy", event=event)

    async def _send_prices(self, now: float) -> None:
        if now < self._prices_due:
            return
        if prices := self._outbox.take(now):
            self._prices_due = now + PRICES_EVERY_S
            self._outbox.sent(self._seq + 1)
            await self._put("prices", prices=prices)
        elif self._outbox.is_stalled(now):
            raise SocketOver(STALLED)

    async def _put(self, kind: str, **fields: Any) -> None:
        self._seq += 1
        frame = {"type": kind, "seq": self._seq, "at": self._now_ms(), **fields}
        try:
            await asyncio.wait_for(self._send(json.dumps(frame, separators=(",", ":"))), SEND_WITHIN_S)
        except TimeoutError:
            raise SocketOver(STALLED) from None

    async def _read(self) -> State:
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        return await database_sync_to_async(read_state)(self._user_id, now)

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)
