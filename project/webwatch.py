"""What the web process does beside answering: it notices dead listeners, and tells in their place.

While they live, they tell of everything; here is only looked. While nobody works for some user,
the alerts are told from here, those that a dead process still owed among them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from twisted.internet.defer import Deferred

from marketdata.broadcast import PageBroadcast
from marketdata.clock import SystemClock
from marketdata.database import DatabaseThread
from marketdata.domain.clock import Clock
from project.attendance import Attendance
from strategies.alerts import alert_body
from strategies.channels import AppriseChannel, BadTarget, PageChannel, apprise_channels
from strategies.lasting import LastingAlerts
from strategies.models import Alert
from strategies.notifying import Notifier

logger = logging.getLogger(__name__)

LOOK_S = 2.0
KIND = "no_listeners"


class WebWatch:
    """Made on the event loop it runs on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pages = PageBroadcast(f"web.{os.getpid()}.{int(clock.time() * 1000)}", clock=clock)
        self._notifier = Notifier(PageChannel(self._pages), _others(), clock)
        self._database = DatabaseThread("web-watch")
        self._attendance = Attendance(always=settings.MARKET_HOURS == "always")
        self._alerts = LastingAlerts(KIND)
        self._telling: asyncio.Task[None] | None = None
        self._is_failing = False

    async def run(self) -> None:
        """Look until cancelled."""
        pages = asyncio.create_task(self._pages.run(), name="web-pages")
        try:
            while True:
                await self._look_safely()
                await self._clock.sleep(LOOK_S)
        finally:
            pages.cancel()
            self._tell(needed=False)
            self._notifier.close()
            self._database.close()

    async def look(self) -> None:
        """Look once, and tell for as long as anybody is without listeners. Raises ``DatabaseError``."""
        new, is_needed = await self._database.run(self._write)
        self._tell(needed=is_needed)
        for alert in new:
            logger.error("user %s: %s", alert.user_id, alert.text)
            self._notifier.announce(alert.user_id, alert_body(alert))

    # --- inside ---------------------------------------------------------------------------

    def _write(self) -> tuple[list[Alert], bool]:
        """Keep the alerts in step, in the database's thread; say whether anybody has to be told from here."""
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        troubles = self._attendance.look(now, self._clock.monotonic())
        return self._alerts.keep(troubles, None, now), bool(troubles)

    async def _look_safely(self) -> None:
        try:
            await self.look()
            self._is_failing = False
        except Exception:
            if not self._is_failing:
                logger.exception("cannot look whether listeners run: trying again every %.0f s", LOOK_S)
            self._is_failing = True

    def _tell(self, *, needed: bool) -> None:
        if needed and self._telling is None:
            self._telling = asyncio.create_task(self._notifier.run(), name="web-alerts")
        elif not needed and self._telling is not None:
            self._telling.cancel()
            self._telling = None


def begin_with_server() -> None:
    """Run the watch as long as the server: Daphne has no lifespan, but its reactor begins and ends."""
    from twisted.internet import reactor as installed

    reactor: Any = installed
    running: list[asyncio.Task[None]] = []

    def begin() -> None:
        running.append(asyncio.get_running_loop().create_task(_run(), name="web-watch"))

    def end() -> Deferred[Any] | None:
        for task in running:
            task.cancel()
        return Deferred.fromFuture(running[0]) if running else None

    reactor.callLater(0, begin)
    reactor.addSystemEventTrigger("before", "shutdown", end)


async def _run() -> None:
    with suppress(asyncio.CancelledError):
        await WebWatch(SystemClock()).run()


def _others() -> list[AppriseChannel]:
    try:
        return apprise_channels(settings.ALERT_URLS)
    except BadTarget as exc:  # pages must open all the same; run_listeners refuses to start with it
        logger.warning("%s Only pages are told of dead listeners.", exc)
        return []
