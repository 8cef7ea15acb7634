"""What leaves the house: prices and news for the pages of each user.

Everything goes through the channel layer, to the group ``live.user.<id>``. Prices are
conflated: at most five frames a second, the latest price of each instrument in one encoding
for all of a user's pages. All frames to a user are numbered, ``n``; a gap tells the page's
process that something was lost and that it has to read a snapshot. Best effort throughout:
nothing here is waited for, and what is not sent in time is dropped, oldest first.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from channels.layers import get_channel_layer

from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from marketdata.domain.ticks import Tick
from marketdata.ltp import price_text
from marketdata.processor import NOBODY
from marketdata.redis_client import ERRORS, Outage

PRICES_S = 0.2
HEARTBEAT_S = 1.0
SEND_TIMEOUT_S = 1.0
WAITING_MAX = 1000


class Layer(Protocol):
    """The part of a channel layer that is used here."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


def user_group(user_id: int) -> str:
    """Return the group that all pages of a user join."""
    return f"live.user.{user_id}"


class PageBroadcast:
    """Sends to pages. ``on_ticks`` belongs to the event loop; ``send`` may come from any thread."""

    def __init__(self, worker: str, *, layer: Layer | None = None, clock: Clock | None = None) -> None:
        self._worker = worker
        self._layer: Layer = layer or cast("Layer", get_channel_layer())
        self._clock = clock or SystemClock()
        self._prices: dict[int, dict[str, Tick]] = {}
        self._messages: deque[tuple[int, dict[str, Any]]] = deque(maxlen=WAITING_MAX)
        self._numbers: dict[int, int] = {}
        self._users: frozenset[int] = frozenset()
        self._outage = Outage("the channel layer")
        self._under_way = asyncio.Lock()
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.get_ident()

    def set_users(self, users: Iterable[int]) -> None:
        """Say whose pages get a heartbeat."""
        self._users = frozenset(users)

    def on_ticks(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> None:
        """Mark prices to be sent to the user's pages."""
        if user_id == NOBODY:
            return
        prices = self._prices.setdefault(user_id, {})
        for tick in ticks:
            prices[tick.symbol] = tick

    def send(self, user_id: int, kind: str, body: Mapping[str, Any]) -> None:
        """Send news to the user's pages: ``kind`` is ``strategy exit listener alert heartbeat``."""
        if self._loop is None or threading.get_ident() == self._thread:
            self._put(user_id, kind, dict(body))
            return
        try:
            self._loop.call_soon_threadsafe(self._put, user_id, kind, dict(body))
        except RuntimeError:  # the loop is closed: the process is ending
            return

    async def flush(self) -> None:
        """Send what is waiting: news in order, then prices."""
        async with self._under_way:
            await self._send_news()
            waiting, self._prices = self._prices, {}
            for user_id, prices in waiting.items():
                if not await self._send(user_id, self._price_frame(user_id, prices)):
                    return

    async def run(self) -> None:
        """Send prices five times a second, news at once and a heartbeat each second, until cancelled."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_prices(), name="broadcast-prices")
            tasks.create_task(self._run_news(), name="broadcast-news")
            tasks.create_task(self._run_heartbeat(), name="broadcast-heartbeat")

    # --- inside ---------------------------------------------------------------------------

    async def _run_prices(self) -> None:
        while True:
            await self._clock.sleep(PRICES_S)
            await self.flush()

    async def _run_news(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            async with self._under_way:
                await self._send_news()

    async def _run_heartbeat(self) -> None:
        while True:
            for user_id in self._users:
                self.send(user_id, "heartbeat", {"worker": self._worker, "at": self._now_ms()})
            await self._clock.sleep(HEARTBEAT_S)

    def _put(self, user_id: int, kind: str, body: dict[str, Any]) -> None:
        message = {"type": "live.message", **self._stamp(user_id), "kind": kind, "body": body}
        self._messages.append((user_id, message))
        self._news.set()

    def _price_frame(self, user_id: int, prices: Mapping[str, Tick]) -> dict[str, Any]:
        rows = [
            [symbol, price_text(tick.price), int(tick.received_at * 1000)] for symbol, tick in prices.items()
        ]
        return {"type": "live.prices", **self._stamp(user_id), "at": self._now_ms(), "prices": rows}

    def _stamp(self, user_id: int) -> dict[str, Any]:
        number = self._numbers[user_id] = self._numbers.get(user_id, 0) + 1
        return {"source": self._worker, "n": number}

    async def _send_news(self) -> None:
        while self._messages:
            if not await self._send(*self._messages.popleft()):
                # Each would wait as long in vain. Their numbers are used up, so pages will notice.
                self._messages.clear()

    async def _send(self, user_id: int, message: dict[str, Any]) -> bool:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._layer.group_send(user_group(user_id), message)
        except ERRORS as exc:
            self._outage.failed(exc)
            return False
        finally:
            _heed_cancellation()
        self._outage.worked()
        return True

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)


def _heed_cancellation() -> None:
    """Raise the cancellation that a client of Redis has swallowed: it is asked for once, and waited for."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
