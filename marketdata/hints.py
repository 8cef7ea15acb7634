"""A word to the listeners that the database has changed.

It carries nothing and may be lost: the listeners look every two seconds anyway, it only
shortens the wait. So it is never waited for, and one under way stands for all asked meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from marketdata.domain.clock import Clock
from marketdata.redis_client import ERRORS, connect

logger = logging.getLogger(__name__)

HINT_CHANNEL = "tickguard:hint"
_TIMEOUT_S = 0.5
_LISTEN_S = 5.0
_RECONNECT_S = 1.0


class HintSender:
    """Publishes hints from a thread of its own, at most one waiting."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hint")

    def send(self) -> None:
        """Ask for a hint to go out; returns at once, never raises."""
        if not self._url or not self._waiting.acquire(blocking=False):
            return
        try:
            self._thread.submit(self._publish)
        except RuntimeError:  # the interpreter is shutting down
            self._waiting.release()

    def _publish(self) -> None:
        self._waiting.release()  # what is asked from here on may have changed after this look
        try:
            with self._client() as client:
                client.publish(HINT_CHANNEL, "changed")
        except (redis.RedisError, OSError) as exc:
            logger.debug("hint not sent (%s): the listeners see the change within 2 s", exc)

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(
            self._url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )


_senders: dict[str, HintSender] = {}


def hint() -> None:
    """Hint that wanted accounts or subscriptions changed; call it after the commit."""
    url = settings.REDIS_URL
    if url not in _senders:
        _senders[url] = HintSender(url)
    _senders[url].send()


async def listen(url: str, on_hint: Callable[[], None], clock: Clock) -> None:
    """Call ``on_hint`` at each hint until cancelled; reconnects by itself."""
    while True:
        try:
            await _listen_once(url, on_hint)
        except ERRORS as exc:
            logger.debug("hints are not heard (%s): looking every 2 s", exc)
        await clock.sleep(_RECONNECT_S)


async def _listen_once(url: str, on_hint: Callable[[], None]) -> None:
    async with connect(url) as client, client.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe(HINT_CHANNEL)
        on_hint()  # what was hinted while nobody listened
        while True:
            if await subscription.get_message(timeout=_LISTEN_S) is not None:
                on_hint()
