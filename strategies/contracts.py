"""Contracts that end: a person is told before, and the stop is taken off after.

An expired contract keeps its last price for ever, and every order for it is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from django.db import transaction

from marketdata.domain.clock import Clock
from marketdata.domain.sessions import IST, REGULAR_HOURS, Calendar
from strategies.alerts import announce, commit_alert
from strategies.announcing import Announcer
from strategies.models import Alert, Strategy, StrategyEvent
from strategies.records import at
from strategies.services import close_strategy

SOON = timedelta(minutes=30)
_LATEST = time(15, 30)


class _Stage(NamedTuple):
    kind: str
    text: str


class ContractNews:
    """Looks at the contracts of active strategies now and then. Blocks."""

    def __init__(self, announcer: Announcer, clock: Clock) -> None:
        self._announcer = announcer
        self._clock = clock

    def look(self, calendar: Calendar, users: Collection[int] | None = None) -> None:
        """Tell of contracts that end, of these users (None: of all); close strategies whose contract has."""
        if calendar.always:
            return
        now = datetime.fromtimestamp(self._clock.time(), UTC).astimezone(IST)
        rows = Strategy.objects.filter(
            status=Strategy.Status.ACTIVE, instrument__expiry__lte=_next_session(calendar, now.date())
        )
        if users is not None:
            rows = rows.filter(user__in=users)
        for strategy in rows.select_related("instrument"):
            self._look(strategy, calendar, now)

    # --- inside ---------------------------------------------------------------------------

    def _look(self, strategy: Strategy, calendar: Calendar, now: datetime) -> None:
        expiry = strategy.instrument.expiry
        assert expiry is not None  # noqa: S101 - asked for
        ends = datetime.combine(expiry, _closes(calendar, strategy.instrument.exchange, expiry), IST)
        if now >= ends:
            self._close(strategy, expiry)
        elif ends - now <= SOON:
            left = int((ends - now).total_seconds() // 60) + 1
            self._tell_once(strategy, _Stage("expires_now", f"expires today, in {left} minutes"))
        elif expiry != now.date():
            self._tell_once(strategy, _Stage("expires_next", f"expires on {expiry}, the next trading day"))

    def _close(self, strategy: Strategy, expiry: date) -> None:
        text = f"{strategy.instrument} expired on {expiry}: the stop of {strategy} is off, and no order was sent."
        with transaction.atomic():
            if close_strategy(strategy.pk, was=Strategy.Status.ACTIVE, epoch=strategy.epoch):
                self._write(strategy, "expired", text)

    def _tell_once(self, strategy: Strategy, stage: _Stage) -> None:
        known = StrategyEvent.objects.filter(strategy=strategy, kind=stage.kind, detail__epoch=strategy.epoch)
        if known.exists():
            return
        text = f"{strategy.instrument} {stage.text}. Its stop is taken off then; close or roll the position before."
        with transaction.atomic():
            self._write(strategy, stage.kind, text)

    def _write(self, strategy: Strategy, kind: str, text: str) -> None:
        now = at(self._clock.time())
        StrategyEvent.objects.create(
            strategy=strategy, at=now, kind=kind, detail={"text": text, "epoch": strategy.epoch}
        )
        alert = commit_alert(
            user_id=strategy.user_id,
            kind=kind,
            text=text,
            at=now,
            strategy_id=strategy.pk,
            urgency=Alert.Urgency.INFO,
        )
        if alert is not None:
            announce(alert, self._announcer)


def _closes(calendar: Calendar, exchange: str, day: date) -> time:
    hours = calendar.hours(exchange, day) or REGULAR_HOURS.get(exchange)
    return hours.closes if hours else _LATEST


def _next_session(calendar: Calendar, today: date) -> date:
    """Return the next day on which any exchange has a session: tomorrow, or after a weekend or holidays."""
    days = (today + timedelta(days=ahead) for ahead in range(1, 15))
    return next((day for day in days if calendar.hours("NSE", day)), today + timedelta(days=1))
