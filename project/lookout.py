"""Looks at every stop of this worker's users every few seconds and tells what a person has to do.

It judges from rows, as health does, in a database thread of its own, so it holds up no report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime

from django.db import transaction

from marketdata.database import DatabaseThread
from marketdata.domain.clock import Clock
from marketdata.domain.sessions import Calendar
from marketdata.precedence import Precedence
from marketdata.reporting import FAILING, LOGIN
from project.logins_due import KIND as LOGIN_DUE
from project.logins_due import LoginReminders
from project.vigil import Bare, Vigil, is_watch_time, troubles
from strategies.alerts import announce, cause_of, close_open
from strategies.announcing import Announcer
from strategies.feed_alerts import KIND as FEED
from strategies.lasting import LastingAlerts
from strategies.models import Alert, Strategy
from strategies.protection import protection

logger = logging.getLogger(__name__)

LOOK_S = 5.0
KIND = "unprotected"
STALE_S = 30.0
"""A look older than this says nothing of now."""

Owned = Callable[[], Collection[int]]


class Lookout:
    """Belongs to one event loop."""

    def __init__(
        self,
        announcer: Announcer,
        clock: Clock,
        calendar: Callable[[], Calendar],
        owned: Owned,
        precedence: Precedence | None = None,
    ) -> None:
        self._announcer = announcer
        self._clock = clock
        self._calendar = calendar
        self._owned = owned
        self._database = DatabaseThread("lookout", precedence=precedence)
        self._vigil = Vigil()
        self._alerts = LastingAlerts(KIND)
        self._logins = LoginReminders(announcer)
        self._well_at = float("-inf")
        self._is_failing = False

    def is_well(self) -> bool:
        """Tell whether, by a fresh look, every stop of everybody is protected."""
        return self._clock.monotonic() - self._well_at <= STALE_S

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._look_safely()
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once. Raises ``DatabaseError``."""
        is_well = await self._database.run(self._look, self._owned(), self._calendar())
        self._well_at = self._clock.monotonic() if is_well else float("-inf")

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    async def _look_safely(self) -> None:
        try:
            await self.look()
            self._is_failing = False
        except Exception:
            if not self._is_failing:
                logger.exception("cannot look whether stops are protected: trying again every %.0f s", LOOK_S)
            self._is_failing = True

    # --- in the database's thread -----------------------------------------------------------

    def _look(self, users: Collection[int], calendar: Calendar) -> bool:
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        bare = list(_bare(now, calendar))
        overdue = self._vigil.overdue((one.strategy for one in bare), self._clock.monotonic())
        mine = [one for one in bare if one.user_id in users and not one.is_exiting]
        told, young = troubles(mine, overdue)
        new = self._alerts.keep(told, users, now, not_over=young)
        for alert in new:
            announce(alert, self._announcer)
        _close_what_is_told_better(new, now)
        self._logins.look(users, now, calendar)
        return not overdue


def _bare(now: datetime, calendar: Calendar) -> Iterable[Bare]:
    """Yield what is unprotected while its exchange is open, or about to be."""
    reasons = {row.strategy: row.reason for row in protection(None, now, calendar).unprotected}
    rows = Strategy.objects.filter(pk__in=reasons)
    for row in rows.select_related("instrument").order_by("pk"):
        if is_watch_time(row.instrument.exchange, now.timestamp(), calendar):
            is_exiting = row.status == Strategy.Status.EXITING
            reason = reasons[row.pk].removeprefix(f"{row.symbol}: ")  # it is named anyway
            yield Bare(row.pk, str(row), row.user_id, row.account_id, reason, is_exiting)


def _close_what_is_told_better(new: Iterable[Alert], at: datetime) -> None:
    """One cause, one alert: this one names the stops, and is repeated."""
    for alert in new:
        same = [cause_of(FEED, cause, account_id=alert.account_id) for cause in (FAILING, LOGIN)]
        with transaction.atomic():
            close_open(at, (FEED,), account=alert.account_id, cause__in=same)
            close_open(at, (LOGIN_DUE,), account=alert.account_id)
