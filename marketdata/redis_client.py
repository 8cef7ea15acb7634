"""Connections to Redis that fail fast: nothing that matters waits for Redis."""

from __future__ import annotations

import logging
from typing import Any

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

logger = logging.getLogger(__name__)

TIMEOUT_S = 1.0
ERRORS = (redis.RedisError, OSError, TimeoutError)
"""What a Redis that is down or hung makes a call raise."""


def connect(url: str, **options: Any) -> Redis:
    """Return a client that gives up after a second and never retries by itself."""
    timeouts = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S, **options}
    client: Redis = Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0), **timeouts)
    return client


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
