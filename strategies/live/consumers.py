"""The live page's WebSocket: one user's prices and news, as fast as that browser reads."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from functools import partial
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from marketdata.broadcast import user_group
from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from strategies.live import requests, watching
from strategies.live.access import current_user
from strategies.live.outbox import RateLimit
from strategies.live.room import BROKEN, Room, Scene, open_room
from strategies.live.state import read_state
from strategies.live.writer import PageWriter

logger = logging.getLogger(__name__)

LOGIN_NEEDED, FORBIDDEN, TOO_MANY = 4401, 4403, 4429
NOT_TEXT, TOO_BIG = 1003, 1009


class LiveConsumer(AsyncWebsocketConsumer):
    """One browser's socket, a guest in the room of its user.

    It has no channel of its own in the channel layer: its room takes each message once for all.
    """

    SOCKETS_PER_USER = 20  # one person, several screens; a page in a loop stops here

    clock: ClassVar[Clock] = SystemClock()
    _open: ClassVar[defaultdict[int, int]] = defaultdict(int)

    user_id = 0
    writer: PageWriter
    _room: Room | None = None
    _task: asyncio.Task[None] | None = None
    _closing: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read what the browser says until it is gone.

        Channels would open a channel, ask two queues by turns and hop to a thread before each
        message to close old database connections; ``database_sync_to_async`` does the latter
        around each use of the database, and acknowledgements use none.
        """
        self.scope, self.base_send = scope, send
        try:
            while True:
                message = await receive()
                await getattr(self, message["type"].replace(".", "_"))(message)
        except StopConsumer:
            pass
        finally:
            self._leave()

    async def connect(self) -> None:
        """Accept first, judge afterwards: a refused handshake looks like an outage to a page."""
        await self.accept()
        user: Any = self.scope["user"]
        if (code := self._refusal(user)) is not None:
            await self.close(code)
        else:
            self._enter(user.pk)

    def _refusal(self, user: Any) -> int | None:
        if not user.is_authenticated:
            return LOGIN_NEEDED
        return TOO_MANY if self._open[user.pk] >= self.SOCKETS_PER_USER else None

    def _enter(self, user_id: int) -> None:
        self.user_id = user_id
        self._open[user_id] += 1
        self._acks = RateLimit(per_s=20, burst=100)
        self._commands = RateLimit(per_s=100 / 60, burst=50)
        self._room = open_room(_scene(user_id), self.clock)
        self.writer = PageWriter(self._room.board, self.clock, send=self.send, end=self._end)
        self._task = asyncio.create_task(self._write(), name=f"live-{user_id}")
        self._room.enter(self)

    def _leave(self) -> None:
        """Let go of everything this socket held."""
        if self._room is None or self._task is None:
            return
        self._room.leave(self)
        self._task.cancel()
        self._open[self.user_id] -= 1
        self._room = None

    async def _write(self) -> None:
        try:
            await self.writer.run()
        except Exception:
            logger.exception("the live socket of user %s failed; its page connects again", self.user_id)
            await self.close(BROKEN)

    def _end(self, code: int) -> None:
        self._closing = asyncio.create_task(self.close(code), name=f"live-{self.user_id}-over")

    async def close(self, code: Any = None, reason: str | None = None) -> None:
        """Close, and say nothing more."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        await super().close(code, reason)

    # --- as a guest ---------------------------------------------------------------------

    @property
    def session_key(self) -> str:
        """The login this socket was opened with."""
        return str(self.scope["session"].session_key)

    async def refusal(self) -> int | None:
        """Look again whether this login may see the page: after a logout, a new password, a block."""
        user = await current_user(self.scope)
        return None if user.pk == self.user_id else LOGIN_NEEDED

    # --- from the browser ---------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take one client message; what is malformed is answered, what is abusive ends the socket."""
        if self._room is None:
            return
        if text_data is None or len(text_data) > requests.MAX_BYTES:
            await self.close(NOT_TEXT if text_data is None else TOO_BIG)
            return
        try:
            request: requests.Request | None = requests.read(text_data)
        except requests.BadRequest as exc:
            request = None
            self.writer.say("alert", {"level": "error", "text": str(exc)})
        await self._obey(request)

    async def _obey(self, request: requests.Request | None) -> None:
        limit = self._acks if isinstance(request, requests.Ack) else self._commands
        if not limit.allows(self.clock.monotonic()):
            await self.close(TOO_MANY)
            return
        match request:
            case requests.Ack(seq):
                self.writer.ack(seq)
            case requests.WantSnapshot():
                self.writer.want_snapshot()
            case requests.Pause():
                self.writer.pause()
            case requests.Resume():
                self.writer.resume()
            case requests.Watch():
                await self._change_watch_list(request)
            case None:  # it has been answered, and counts all the same
                pass

    async def _change_watch_list(self, request: requests.Watch) -> None:
        change = watching.watch if request.wanted else watching.unwatch
        try:
            await database_sync_to_async(change)(self.user_id, request.symbols)
        except watching.WatchError as exc:
            self.writer.say("alert", {"level": "error", "text": str(exc)})
        else:
            self.writer.want_snapshot()


def _scene(user_id: int) -> Scene:
    """Return what a user's page shows; all pages of theirs share it but for their number."""
    return Scene(user_id, (user_group(user_id),), partial(read_state, user_id))
