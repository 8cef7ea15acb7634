"""The live page's WebSocket: one user's prices and news, as fast as that browser reads."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from marketdata.broadcast import user_group
from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from strategies.live import requests, watching
from strategies.live.access import current_user
from strategies.live.outbox import RateLimit
from strategies.live.writer import SEND_WITHIN_S, PageWriter, SocketOver

logger = logging.getLogger(__name__)

LOGIN_NEEDED, FORBIDDEN, TOO_MANY = 4401, 4403, 4429
NOT_TEXT, TOO_BIG, BROKEN = 1003, 1009, 1011


class LiveConsumer(AsyncWebsocketConsumer):
    """One browser's socket.

    What the channel layer delivers is only put away and never sent from its handler, so the
    layer's unbounded queue is always drained.
    """

    SOCKETS_PER_USER = 20  # one person, several screens; a page in a loop stops here

    clock: ClassVar[Clock] = SystemClock()
    _open: ClassVar[defaultdict[int, int]] = defaultdict(int)

    user_id = 0
    _joined = False
    _writer: PageWriter | None = None
    _task: asyncio.Task[None] | None = None

    # --- life ---------------------------------------------------------------------------

    async def connect(self) -> None:
        """Accept first, judge afterwards: a refused handshake looks like an outage to a page."""
        await self.accept()
        user: Any = self.scope["user"]
        if (code := self._refusal(user)) is not None:
            await self.close(code)
        else:
            self._begin(user.pk)

    def is_welcome(self, user: Any) -> bool:
        """Tell whether this logged-in user may use this socket."""
        return bool(user.is_active)

    def _refusal(self, user: Any) -> int | None:
        if not user.is_authenticated:
            return LOGIN_NEEDED
        if not self.is_welcome(user):
            return FORBIDDEN
        return TOO_MANY if self._open[user.pk] >= self.SOCKETS_PER_USER else None

    def _begin(self, user_id: int) -> None:
        self.user_id = user_id
        self._open[user_id] += 1
        self._acks = RateLimit(per_s=20, burst=100)
        self._commands = RateLimit(per_s=100 / 60, burst=50)
        self._writer = PageWriter(user_id, self.clock, send=self.send, check=self._check)
        self._task = asyncio.create_task(self._write(self._writer), name=f"live-{user_id}")

    async def _write(self, writer: PageWriter) -> None:
        try:
            await writer.run()
        except SocketOver as over:
            await self.close(over.code)
        except Exception:
            logger.exception("the live socket of user %s failed; its page connects again", self.user_id)
            await self.close(BROKEN)

    async def disconnect(self, code: int) -> None:
        """Let go of everything this socket held."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._open[self.user_id] -= 1
        leaving = self.channel_layer.group_discard(user_group(self.user_id), self.channel_name)
        with suppress(Exception):  # the layer may be down or hung; it forgets a closed channel by itself
            await asyncio.wait_for(leaving, SEND_WITHIN_S)

    async def close(self, code: Any = None, reason: str | None = None) -> None:
        """Close, and say nothing more."""
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        await super().close(code, reason)

    # --- every few seconds --------------------------------------------------------------

    async def _check(self) -> None:
        """Look at what no message tells: a logout, and a layer that was down."""
        if not self._joined:  # before the snapshot is read: what happens in between comes after it
            await self._join()
        if "session" in self.scope:
            user = await current_user(self.scope)
            if user.pk != self.user_id:
                raise SocketOver(LOGIN_NEEDED)
            if not self.is_welcome(user):
                raise SocketOver(FORBIDDEN)

    async def _join(self) -> None:
        adding = self.channel_layer.group_add(user_group(self.user_id), self.channel_name)
        try:
            await asyncio.wait_for(adding, SEND_WITHIN_S)
        except Exception as exc:  # noqa: BLE001 - whatever the layer's backend raises
            logger.warning("the channel layer is down (%s): pages show what the database knows", exc)
        else:
            self._joined = True
            if self._writer is not None:
                self._writer.want_snapshot()

    # --- from the channel layer and from the browser ------------------------------------

    async def dispatch(self, message: Any) -> None:
        """Hand a message to its handler, without Channels' thread hop before each one.

        That hop closes old database connections; here ``database_sync_to_async`` does it
        around each use of the database, and prices use none.
        """
        kind = message["type"]
        if kind.startswith("websocket."):
            await getattr(self, kind.replace(".", "_"))(message)
        elif self._writer is not None:
            take = {"live.prices": self._writer.take_prices, "live.message": self._writer.take_news}[kind]
            take(message)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take one client message; what is malformed is answered, what is abusive ends the socket."""
        if self._writer is None:
            return
        if text_data is None or len(text_data) > requests.MAX_BYTES:
            await self.close(NOT_TEXT if text_data is None else TOO_BIG)
            return
        try:
            request: requests.Request | None = requests.read(text_data)
        except requests.BadRequest as exc:
            request = None
            self._writer.say("alert", {"level": "error", "text": str(exc)})
        await self._obey(request, self._writer)

    async def _obey(self, request: requests.Request | None, writer: PageWriter) -> None:
        limit = self._acks if isinstance(request, requests.Ack) else self._commands
        if not limit.allows(self.clock.monotonic()):
            await self.close(TOO_MANY)
        elif isinstance(request, requests.Ack):
            writer.ack(request.seq)
        elif isinstance(request, requests.WantSnapshot):
            writer.want_snapshot()
        elif isinstance(request, requests.Watch):
            await self._change_watch_list(request, writer)

    async def _change_watch_list(self, request: requests.Watch, writer: PageWriter) -> None:
        change = watching.watch if request.wanted else watching.unwatch
        try:
            await database_sync_to_async(change)(self.user_id, request.symbols)
        except watching.WatchError as exc:
            writer.say("alert", {"level": "error", "text": str(exc)})
        else:
            writer.want_snapshot()


class AdminConsumer(LiveConsumer):
    """The staff-only twin: the same messages, for the admin's pages."""

    def is_welcome(self, user: Any) -> bool:
        """Tell whether this user belongs to the staff."""
        return bool(user.is_active and user.is_staff)
