"""The admin's socket: keeps the badges of one page up to date. It only ever tells."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from contextlib import suppress
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from marketdata.badges import Said
from marketdata.clock import SystemClock
from project.cockpit.badges import Asked, Key, asked_for, read_badges
from strategies.live.access import current_user
from strategies.live.consumers import FORBIDDEN, LOGIN_NEEDED, TOO_MANY
from strategies.live.room import BROKEN

logger = logging.getLogger(__name__)

EVERY_S = 2.0
"""How often listeners report, so sooner there is nothing new."""
_SEND_WITHIN_S = 5.0
NOTHING_TO_SAY = 1003


class CockpitConsumer(AsyncWebsocketConsumer):
    """One page of a member of the staff.

    Every two seconds: may they still see it, what do its badges say, and what of that is new. A
    frame without rows says that all is as it was.
    """

    SOCKETS_PER_USER = 20  # several tabs; a page in a loop stops here
    _open: ClassVar[Counter[int]] = Counter()
    _task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Accept first, judge afterwards: a refused handshake looks like an outage to a page."""
        await self.accept()
        self._task = asyncio.create_task(self._serve(), name="cockpit")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take nothing: whatever a person wants goes through forms."""
        await self.close(NOTHING_TO_SAY)

    async def disconnect(self, code: int) -> None:
        """End with the browser."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _serve(self) -> None:
        try:
            code = await self._tell_for(_id(self.scope["user"]))
        except Exception:
            logger.exception("an admin page's socket failed; the page connects again")
            code = BROKEN
        await self.close(code)

    async def _tell_for(self, user_id: int) -> int:
        if self._open[user_id] >= self.SOCKETS_PER_USER:
            return TOO_MANY
        self._open[user_id] += 1
        try:
            return await self._tell(user_id, asked_for(self.scope["query_string"].decode("latin1")))
        finally:
            self._open[user_id] -= 1

    async def _tell(self, user_id: int, asked: Asked) -> int:
        """Tell until this user may see no more; return the code that says why."""
        told: dict[Key, Said] = {}
        while True:
            user = await current_user(self.scope)
            if (code := _refusal(user, user_id)) is not None:
                return code
            said = await database_sync_to_async(read_badges)(user, asked)
            await self._put([(*key, *said[key]) for key in said if told.get(key) != said[key]])
            told = said
            await asyncio.sleep(EVERY_S)

    async def _put(self, rows: list[tuple[Any, ...]]) -> None:
        frame = {"type": "badges", "at": int(SystemClock().time() * 1000), "rows": rows}
        await asyncio.wait_for(self.send(json.dumps(frame, separators=(",", ":"))), _SEND_WITHIN_S)


def _id(user: Any) -> int:
    return user.pk or 0


def _refusal(user: Any, user_id: int) -> int | None:
    if not user.is_authenticated or user.pk != user_id:
        return LOGIN_NEEDED
    return None if user.is_staff else FORBIDDEN
