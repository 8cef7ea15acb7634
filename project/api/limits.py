"""How many requests a token may make in a minute, counted in the cache: Redis, where there is one."""

from __future__ import annotations

import logging

from django.conf import settings
from django.core.cache import cache

from project.api.errors import ApiError

logger = logging.getLogger(__name__)
WINDOW_S = 60


class _Outage:
    """Says once that nothing is counted, and once that it is again."""

    is_known = False

    def seen(self, is_down: bool) -> None:
        if is_down and not self.is_known:
            logger.warning("Redis does not answer: requests to the API are not counted, so none is refused")
        if self.is_known and not is_down:
            logger.info("requests to the API are counted again")
        self.is_known = is_down


_outage = _Outage()


def check_rate(who: str, *, is_write: bool, now: float) -> None:
    """Count a request.

    Args:
        who: What is limited; reads and writes are counted apart.
        is_write: Whether it may change anything.
        now: UNIX seconds.

    Raises:
        ApiError: One too many in this minute. Nothing is refused while nobody can count.

    """
    limit = settings.API_WRITES_PER_MINUTE if is_write else settings.API_READS_PER_MINUTE
    window, passed = divmod(now, WINDOW_S)
    count = _count(f"api-rate:{who}:{'write' if is_write else 'read'}:{window:.0f}")
    _outage.seen(is_down=count is None)
    if count is not None and count > limit:
        wait = int(WINDOW_S - passed) + 1
        what = "writes" if is_write else "reads"
        raise ApiError(
            429, "too_many_requests", f"More than {limit} {what} in a minute: wait {wait} s.",
            headers={"Retry-After": str(wait)},
        )  # fmt: skip


def _count(key: str) -> int | None:
    """Return how many there were with this one; None when that cannot be known."""
    try:
        return cache.incr(key)
    except ValueError:  # the first one of this minute
        return 1 if cache.add(key, 1, 2 * WINDOW_S) else cache.incr(key)
