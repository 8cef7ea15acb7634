"""How the feeds are, written down: a row for each account, and what happened to it.

Reports come from a look at every feed and are written in a thread of their own, so neither a
tick nor a broker's answer ever waits for them.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from marketdata.backoff import STABLE_S
from marketdata.database import DatabaseThread
from marketdata.domain.clock import Clock
from marketdata.domain.feed import ListenerState
from marketdata.feeds import FeedReport
from marketdata.models import BrokerAccount, Listener, ListenerEvent
from marketdata.ports import LiveChannel
from marketdata.wanted import WantedFeed

logger = logging.getLogger(__name__)

EVENTS_WAITING_MAX = 1000
ALERT_FROM = 3
"""The failed attempt in a row from which on a person is told."""
FAILING, LOGIN = "failing", "login"
"""Causes of which a person is told once for an account, whatever the words are."""

_ALERTS: Mapping[str, str] = {
    "clock": "No tick can trigger a stop: {}.",
    "left_out": "Not on the feed: {}.",
    "limited": "Not on the feed: {}.",
    "silent": "{}. Its stops are checked by quotes meanwhile. If it lasts, restart the listener.",
    "blind": "No stop of this account is checked: its feed is down, and quotes fail too ({}).",
}
_LOGIN_NEEDED = (
    "The broker no longer accepts today's login: log in again. Until then no stop of this account is checked, "
    "and nothing can be sold."
)
_FIELDS = (
    "state",
    "worker",
    "observed_generation",
    "connected_at",
    "last_frame_at",
    "last_tick_at",
    "reported_at",
    "subscription_count",
    "reconnect_attempts",
    "last_error",
    "unseen",
)


@dataclass(slots=True)
class _Story:
    """What an account's feed has been through lately."""

    connected_at: float | None = None
    connects: int = 0
    failures: int = 0
    state: str = ""


class FeedReporter:
    """Keeps the Listener rows and appends ListenerEvent rows, and tells the owner's pages."""

    def __init__(
        self,
        worker: str,
        database: DatabaseThread,
        pages: LiveChannel,
        clock: Clock,
        owned: Callable[[], Collection[int] | None] = lambda: None,
    ) -> None:
        self._worker = worker
        self._owned = owned  # whose rows are this worker's to write; None: everybody's
        self._database = database
        self._pages = pages
        self._clock = clock
        self._stories: dict[int, _Story] = {}
        self._events: deque[ListenerEvent] = deque(maxlen=EVENTS_WAITING_MAX)
        self.counts: Counter[tuple[str, str]] = Counter()
        """What happened since the start by broker: ``reconnected``, ``disconnected``, ``failed`` and so on."""

    # --- what happens ---------------------------------------------------------------------

    def on_feed_event(self, feed: WantedFeed, kind: str, detail: str) -> None:
        """Take note of what happened to a feed; returns at once."""
        story = self._story(feed)
        self.counts[feed.config.broker, kind] += 1
        if kind == "connected":
            story.connected_at = self._clock.time()
            self.counts[feed.config.broker, "reconnected"] += story.connects > 0
            story.connects += 1
        elif kind == "disconnected":
            # One that is made and lost at once is a failure like the one before it.
            if story.connected_at is not None and self._clock.time() - story.connected_at > STABLE_S:
                story.failures = 0
            story.connected_at = None
        elif kind == "failed":
            story.failures += 1
            if story.failures == ALERT_FROM:
                self._alert(feed, f"The feed failed {ALERT_FROM} times in a row: {detail}", FAILING)
        elif kind in _ALERTS:
            self._alert(feed, _ALERTS[kind].format(detail))
        if kind != "failed" or story.failures <= ALERT_FROM:  # it may fail every few seconds all night
            self._event(feed, kind, detail)

    # --- how it is ------------------------------------------------------------------------

    async def write(self, reports: Sequence[FeedReport]) -> None:
        """Write every feed's row and the events since the last call."""
        owned = self._owned()
        reports = [report for report in reports if owned is None or report.wanted.user_id in owned]
        for report in reports:
            self._notice_state(report)
        rows = [self._row(report) for report in reports]
        events = list(self._events)
        self._events.clear()
        try:
            await self._database.run(_write, owned, rows, events, self._now())
        except Exception:
            self._events.extendleft(reversed(events))
            raise

    @property
    def has_news(self) -> bool:
        """Tell whether something happened that is not written yet."""
        return bool(self._events)

    async def write_end(self) -> None:
        """Say that nothing runs here any more."""
        await self.write([])

    # --- inside ---------------------------------------------------------------------------

    def _notice_state(self, report: FeedReport) -> None:
        story, state = self._story(report.wanted), _state(report)
        if story.state == state:
            return
        story.state = state
        if state == ListenerState.LOGIN_NEEDED:
            self._event(report.wanted, "login_needed", report.health.last_error)
            self._alert(report.wanted, _LOGIN_NEEDED, LOGIN)
        account_id = report.wanted.config.account_id
        body = {"account": account_id, "state": state, "last_error": _error(report), "at": self._clock.time()}
        self._pages.send(report.wanted.user_id, "listener", body)

    def _row(self, report: FeedReport) -> Listener:
        health, story = report.health, self._story(report.wanted)
        return Listener(
            account_id=report.wanted.config.account_id,
            state=_state(report),
            worker=self._worker,
            observed_generation=report.wanted.generation,
            connected_at=_at(story.connected_at if health.is_connected else None),
            last_frame_at=self._ago(health.last_frame_age_s),
            last_tick_at=self._ago(_price_age(report)),
            reported_at=self._now(),
            subscription_count=health.subscription_count,
            reconnect_attempts=health.reconnect_attempts,
            last_error=_error(report),
            unseen=dict(report.unseen),
        )

    def _event(self, feed: WantedFeed, kind: str, detail: str) -> None:
        told: Mapping[str, Any] = {"text": detail} if detail else {}
        account_id = feed.config.account_id
        self._events.append(
            ListenerEvent(account_id=account_id, at=self._now(), kind=kind, detail=dict(told))
        )

    def _alert(self, feed: WantedFeed, text: str, cause: str = "") -> None:
        body = {"account": feed.config.account_id, "cause": cause, "text": text, "at": self._clock.time()}
        self._pages.send(feed.user_id, "alert", body)

    def _story(self, feed: WantedFeed) -> _Story:
        return self._stories.setdefault(feed.config.account_id, _Story())

    def _ago(self, age_s: float | None) -> datetime | None:
        return None if age_s is None else _at(self._clock.time() - age_s)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


def _at(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _error(report: FeedReport) -> str:
    return report.trouble or report.health.last_error


def _price_age(report: FeedReport) -> float | None:
    """A quiet instrument's price is known by the quote that was asked for."""
    ages = [age for age in (report.health.last_tick_age_s, report.quote_age_s) if age is not None]
    return min(ages, default=None)


def _state(report: FeedReport) -> str:
    """A feed with something to watch and no connection under way is about to make one."""
    if not report.wanted.modes:
        return ListenerState.IDLE
    is_between = report.health.state in (ListenerState.STOPPED, ListenerState.IDLE)
    return ListenerState.CONNECTING if is_between else report.health.state


def _write(
    owned: Collection[int] | None, rows: Sequence[Listener], events: Sequence[ListenerEvent], now: datetime
) -> None:
    with transaction.atomic():
        accounts = {row.account_id for row in rows} | {event.account_id for event in events}
        present = set(BrokerAccount.objects.filter(pk__in=accounts).values_list("pk", flat=True))
        Listener.objects.bulk_create(
            [row for row in rows if row.account_id in present],
            update_conflicts=True,
            unique_fields=["account"],
            update_fields=_FIELDS,
        )
        ended = Listener.objects.exclude(state=Listener.State.STOPPED)
        if owned is not None:
            ended = ended.filter(account__user__in=owned)
        ended.exclude(account_id__in=[row.account_id for row in rows]).update(
            state=Listener.State.STOPPED, connected_at=None, subscription_count=0, reported_at=now
        )
        ListenerEvent.objects.bulk_create([event for event in events if event.account_id in present])
