"""What the listeners' process tells the web process about itself, through Redis.

It is extra: accounts, states and times are rows in the database, which stay the truth when
Redis is away. Only the pipeline's figures and the feeds' symbols are known here alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import redis
from django.conf import settings
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from marketdata.feeds import FeedReport
from marketdata.redis_client import ERRORS, TIMEOUT_S, connect

TTL_S = 10

Status = Mapping[str, Any]


def _key(worker: str) -> str:
    return f"tickguard:worker:{worker}"


class StatusWriter:
    """Puts the status of one worker where it disappears by itself when the worker is gone."""

    def __init__(self, worker: str, url: str) -> None:
        self._worker = worker
        self._redis: Redis | None = connect(url) if url else None

    async def write(self, status: Status) -> None:
        """Write it; a Redis that is away is no matter."""
        if self._redis is None:
            return
        try:
            await self._redis.set(_key(self._worker), json.dumps(status), ex=TTL_S)
        except ERRORS:
            return

    async def close(self) -> None:
        """Withdraw the status: nothing runs here any more."""
        if self._redis is None:
            return
        try:
            await self._redis.delete(_key(self._worker))
        except ERRORS:
            return
        finally:
            await self._redis.aclose()


def worker_status(stats: Mapping[str, Any], armed: int, reports: Iterable[FeedReport]) -> dict[str, Any]:
    """Return the status of this process as plain values."""
    feeds = {
        str(report.wanted.config.account_id): {
            "symbols": list(report.health.subscribed_symbols),
            "ticks_per_second": report.ticks_per_second,
            "bad_frames": report.health.bad_frames,
        }
        for report in reports
    }
    return {"stats": dict(stats), "armed": armed, "feeds": feeds}


def read_statuses(workers: Iterable[str]) -> list[Status]:
    """Return what the workers told last; none of those that are gone, none without Redis. Blocks."""
    names = sorted({worker for worker in workers if worker})
    if not names or not settings.REDIS_URL:
        return []
    try:
        with sync_client() as client:
            found: Any = client.mget([_key(name) for name in names])
    except ERRORS:
        return []
    return [json.loads(text) for text in found if text]


def sync_client() -> redis.Redis:
    """Return a client that gives up after a second."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
