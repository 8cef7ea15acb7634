"""The outside dead-man ping: as long as it comes, somebody outside knows that all stops are protected.

It covers what nothing in here can tell of: the machine, its power, its network.
"""

from __future__ import annotations

import asyncio
import logging
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from urllib.error import HTTPError

from marketdata.domain.clock import Clock
from marketdata.secret import Secret
from strategies.notifying import in_thread

logger = logging.getLogger(__name__)

EVERY_S = 60.0
WITHIN_S = 10.0


class DeadMan:
    """Requests ``url`` each minute while ``is_well`` says so. The address is a secret: it is never logged."""

    def __init__(self, url: Secret, is_well: Callable[[], bool], clock: Clock) -> None:
        self._url = url
        self._is_well = is_well
        self._clock = clock
        self._is_failing = False

    async def run(self) -> None:
        """Ping until cancelled; the first time as soon as all is well."""
        while True:
            if self._is_well():
                await self.ping()
                await self._clock.sleep(EVERY_S)
            else:
                await self._clock.sleep(1.0)

    async def ping(self) -> None:
        """Request it once; what fails is logged when it begins to, and when it works again."""
        try:
            async with asyncio.timeout(WITHIN_S):
                await in_thread("deadman", self._request)
        except (OSError, HTTPException, ValueError, TimeoutError) as exc:
            if not self._is_failing:
                logger.warning(
                    "DEADMAN_URL cannot be reached (%s): whoever waits for it will call", _why(exc)
                )
            self._is_failing = True
            return
        if self._is_failing:
            logger.info("DEADMAN_URL is reached again")
        self._is_failing = False

    def _request(self) -> None:
        try:
            with urllib.request.urlopen(self._url.reveal(), timeout=WITHIN_S):  # noqa: S310 - the operator's own
                return
        except HTTPError as exc:
            exc.close()
            raise


def _why(exc: BaseException) -> str:
    """Say what failed, not what the address is."""
    code = getattr(exc, "code", None)
    reason = getattr(exc, "reason", None)
    return f"HTTP {code}" if code else type(reason or exc).__name__
