"""A room: everybody in this process who watches the same page, and what they are told together.

A room takes each message from the channel layer once, reads the database once and encodes once,
however many pages are in it. It sends nothing itself: it puts away with each page's writer.
Prices wait for nothing: the database is read beside them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, cast
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings

from marketdata.domain.clock import Clock
from strategies.live.board import PriceBoard
from strategies.live.changes import changed_rows, is_same_set, new_events, snapshot
from strategies.live.frames import Frame, frame
from strategies.live.outbox import Counters
from strategies.live.parts import in_parts
from strategies.live.prices import Known, read_prices
from strategies.live.state import Row, State
from strategies.live.writer import PageWriter

logger = logging.getLogger(__name__)

BROKEN = 1011
PULSE_S = 0.05
PRICES_EVERY_S = 0.1
HEARTBEAT_EVERY_S = 1.0
CHECK_EVERY_S = 3.0
LOOKS_APART_S = 0.1
LAYER_WITHIN_S = 5.0
ROWS_ONE_BY_ONE = 100
"""Of more changed rows at once a snapshot tells; a page takes it sooner than so many messages."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a room shows.

    Attributes:
        key: Pages with the same key share a room: they must be allowed to see the same.
        groups: The channel layer's groups that are heard.
        read: Reads what the database knows, as of a moment. Blocks.

    """

    key: Hashable
    groups: tuple[str, ...]
    read: Callable[[datetime], State]


class Guest(Protocol):
    """A page in the room."""

    @property
    def session_key(self) -> str:
        """Guests with the same one are judged together."""
        ...

    @property
    def writer(self) -> PageWriter: ...

    async def refusal(self) -> int | None:
        """Return the code to close with when this login may see no more. Asks the database."""
        ...


class Room:
    """Made on the event loop that it runs on; runs for as long as anybody is in it."""

    def __init__(self, scene: Scene, clock: Clock) -> None:
        self.scene = scene
        self._clock = clock
        self._guests: set[Guest] = set()
        self._counters = Counters()
        self._state = State()
        self._listeners_at: int | None = None
        self._is_beat_news = False
        self._beat_at = float("-inf")
        self._prices_due = self._check_due = 0.0
        self._look_wanted = asyncio.Event()
        self._is_looking = False
        self._has_tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.board = PriceBoard(lambda prices: self._frame("prices", prices=prices))

    def enter(self, guest: Guest) -> None:
        """Let a page in: it gets a snapshot, then everything that follows."""
        self._guests.add(guest)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"room-{self.scene.key}")
        self._look_wanted.set()

    def leave(self, guest: Guest) -> None:
        """Take a page out. With the last one the room is over."""
        self._guests.discard(guest)
        if not self._guests and self._task is not None:
            self._task.cancel()
            _close(self)

    # --- life ---------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                tasks.create_task(self._pulse())
                tasks.create_task(self._look())
        except Exception:
            logger.exception("the room of %s failed; its pages connect again", self.scene.groups)
            _close(self)
            for guest in list(self._guests):
                guest.writer.end(BROKEN)

    async def _pulse(self) -> None:
        """What is due by the clock. Never waits for anything else."""
        while True:
            self._beat(self._clock.monotonic())
            await asyncio.sleep(PULSE_S)

    def _beat(self, now: float) -> None:
        self._show_prices(now)
        # Sooner with news of the listeners: the page judges them by its age.
        pause = HEARTBEAT_EVERY_S / 2 if self._is_beat_news else HEARTBEAT_EVERY_S
        if now >= self._beat_at + pause:
            self._beat_at, self._is_beat_news = now, False
            self._tell(self._frame("heartbeat", listeners_at=self._listeners_at))
            for guest in list(self._guests):
                guest.writer.judge(now)
        if not self._is_looking and self._is_look_due(now):
            self._look_wanted.set()

    def _is_look_due(self, now: float) -> bool:
        return now >= self._check_due or bool(self._waiting(now))

    def _show_prices(self, now: float) -> None:
        if self.board.has_news and now >= self._prices_due:
            self._prices_due = now + PRICES_EVERY_S
            self.board.turn()
            for guest in self._guests:
                guest.writer.show_prices()

    # --- from the channel layer ---------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            try:
                await self._take_all()
            except Exception as exc:  # noqa: BLE001 - whatever the layer's backend raises
                logger.warning("the channel layer is down (%s): pages show what the database knows", exc)
                self._has_tried.set()
            await asyncio.sleep(CHECK_EVERY_S)

    async def _take_all(self) -> None:
        layer: Any = get_channel_layer()
        async with asyncio.timeout(LAYER_WITHIN_S):
            channel = await layer.new_channel()
            for group in self.scene.groups:
                await layer.group_add(group, channel)
        self._has_tried.set()
        self._want_snapshots()  # of what was said before we listened
        try:
            while True:
                self._take(await layer.receive(channel))
        finally:
            for group in self.scene.groups:
                with suppress(Exception):  # it may be down or hung; it forgets a closed channel by itself
                    await asyncio.wait_for(layer.group_discard(group, channel), LAYER_WITHIN_S)

    def _take(self, message: Mapping[str, Any]) -> None:
        source = message.get("source", "")
        if source and self._counters.has_gap(source, message["n"]):
            self._want_snapshots()
        if message["type"] == "live.prices":
            self.board.put(message["prices"])
            self._show_prices(self._clock.monotonic())
        elif message["kind"] == "heartbeat":
            self._listeners_at, self._is_beat_news = self._now_ms(), True
        else:
            self._take_news(message["kind"], message["body"])

    def _take_news(self, kind: str, body: Mapping[str, Any]) -> None:
        news = self._frame(kind, body=body)
        for guest in self._guests:
            guest.writer.tell(news)  # who has no snapshot yet gets it afterwards
        if kind != "alert" or "id" in body:
            self._look_wanted.set()

    # --- from the database --------------------------------------------------------------

    async def _look(self) -> None:
        await (
            self._has_tried.wait()
        )  # to hear first: what happens while the first snapshot is read follows it
        while True:
            await self._look_wanted.wait()
            self._look_wanted.clear()
            self._is_looking = True  # what is due by the clock is being done; news ask for another look
            await self._check()
            await self._tell_changes()
            self._is_looking = False
            await asyncio.sleep(LOOKS_APART_S)

    async def _check(self) -> None:
        """Look at what no message tells: logins that are over."""
        now = self._clock.monotonic()
        if now < self._check_due:
            return
        # Where nothing reaches us from the listeners' process, the database is all there is.
        self._check_due = now + (CHECK_EVERY_S if settings.REDIS_URL else CHECK_EVERY_S / 2)
        sessions: dict[str, list[Guest]] = {}
        for guest in self._guests:
            sessions.setdefault(guest.session_key, []).append(guest)
        for guests in sessions.values():
            code = await guests[0].refusal()
            for guest in guests if code is not None else ():
                guest.writer.end(cast("int", code))

    async def _tell_changes(self) -> None:
        """Say what is different in the database since the last look, and everything to whom wants it."""
        now = self._clock.monotonic()
        # Who asks while it is read may ask for what came after: the next look is theirs.
        waiting = self._waiting(now)
        before, self._state = self._state, await self._read()
        rows = changed_rows(before, self._state)
        is_much = len(rows) > ROWS_ONE_BY_ONE
        self._tell_news([] if is_much else rows, new_events(before, self._state))
        if is_much or not is_same_set(before, self._state):
            for guest in self._guests:
                guest.writer.want_snapshot()
            waiting = self._waiting(now)
        if waiting:
            await self._begin_again(waiting, now)

    def _waiting(self, now: float) -> list[PageWriter]:
        return [guest.writer for guest in self._guests if guest.writer.awaits_snapshot(now)]

    def _tell_news(self, rows: list[tuple[str, Row]], events: list[Row]) -> None:
        for kind, row in rows:
            self._tell(self._frame(kind, row=row))
        for event in events:
            kind = "listener" if event["strategy"] is None else "strategy"
            self._tell(self._frame(kind, event=event))

    async def _begin_again(self, writers: list[PageWriter], now: float) -> None:
        for writer in writers:
            writer.promise_snapshot(now)
        number = self.board.number  # what comes while it is made is told after the snapshot
        everything = await self._snapshot()
        for writer in writers:
            writer.begin_again(everything, number)

    async def _snapshot(self) -> list[Frame]:
        rows = snapshot(self._state, await self._prices())
        parts = []
        for part in in_parts(self._now_ms(), rows, score=self._state.score):
            parts.append(part)
            await asyncio.sleep(0)  # a part takes some milliseconds: prices go on between
        return parts

    async def _prices(self) -> dict[str, Known]:
        """Return the latest prices: those shown last, or what the cache holds where that is younger."""
        symbols = self._state.symbols
        found = await read_prices(symbols)
        for symbol in symbols:
            shown = self.board.known(symbol)
            if shown is not None and (symbol not in found or shown[2] > found[symbol][1]):
                found[symbol] = (shown[1], shown[2])
        return found

    async def _read(self) -> State:
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        return await database_sync_to_async(self.scene.read)(now)

    # --- to the pages -------------------------------------------------------------------

    def _want_snapshots(self) -> None:
        for guest in self._guests:
            guest.writer.want_snapshot()
        self._look_wanted.set()

    def _tell(self, message: Frame) -> None:
        for guest in self._guests:
            if guest.writer.has_begun:
                guest.writer.tell(message)

    def _frame(self, kind: str, **fields: Any) -> Frame:
        return frame(kind, self._now_ms(), **fields)

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)


_rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Room]] = WeakKeyDictionary()


def open_room(scene: Scene, clock: Clock) -> Room:
    """Return the room of this scene, a new one when nobody watches it yet."""
    rooms = _rooms.setdefault(asyncio.get_running_loop(), {})
    if scene.key not in rooms:
        rooms[scene.key] = Room(scene, clock)
    return rooms[scene.key]


def _close(room: Room) -> None:
    """Let nobody else in: the next page gets a room of its own."""
    rooms = _rooms.get(asyncio.get_running_loop(), {})
    if rooms.get(room.scene.key) is room:
        del rooms[room.scene.key]
