"""Connections to Redis that fail fast: nothing that matters waits for Redis."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from hashlib import sha1
from typing import Any

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

logger = logging.getLogger(__name__)

TIMEOUT_S = 1.0
ERRORS = (redis.RedisError, OSError, TimeoutError)
"""What a Redis that is down or hung makes a call raise."""


def connect(url: str, **options: Any) -> Redis:
    """Return a client that gives up after a second and never retries by itself."""
    timeouts = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S, **options}
    client: Redis = Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0), **timeouts)
    return client


# One command for a whole batch: packing and answering each alone costs our loop ten times as much.
_SET_ALL = "for i, key in ipairs(KEYS) do redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[1]) end"
_PUBLISH_ALL = "for i, channel in ipairs(KEYS) do redis.call('PUBLISH', channel, ARGV[i]) end"

_DIGESTS = {
    script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (_SET_ALL, _PUBLISH_ALL)
}


async def set_all(client: Redis, values: Mapping[str, str], ttl_s: int) -> None:
    """Set keys that live for so many seconds; raises what Redis refuses."""
    if values:
        await _run(client, _SET_ALL, [*values], [str(ttl_s), *values.values()])


async def publish_all(client: Redis, messages: Sequence[tuple[str, str]]) -> None:
    """Publish each text on its channel, in order; raises what Redis refuses."""
    if messages:
        await _run(client, _PUBLISH_ALL, [channel for channel, _ in messages], [text for _, text in messages])


async def _run(client: Redis, script: str, keys: list[str], values: list[str]) -> None:
    digest = _DIGESTS[script]
    try:
        await client.evalsha(digest, len(keys), *keys, *values)
    except NoScriptError:  # the first time, and after a restart
        await client.eval(script, len(keys), *keys, *values)


class Outage:
    """Says once that something is down and once that it is back."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.is_down = False

    def failed(self, error: BaseException) -> None:
        if not self.is_down:
            logger.warning("%s is down (%s): stops are checked all the same", self._what, error)
        self.is_down = True

    def worked(self) -> None:
        if self.is_down:
            logger.info("%s is back", self._what)
        self.is_down = False
