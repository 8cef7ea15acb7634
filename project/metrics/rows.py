"""What the rows tell of the whole installation; asked by the web process at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from django.db import DatabaseError
from django.db.models import Count
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from marketdata.domain.sessions import Calendar
from marketdata.evidence import is_connected, is_ticking
from marketdata.models import BrokerAccount, Listener
from project.metrics.families import Sample, gauge, gauges
from strategies.domain.exits import ExitState
from strategies.models import Alert, Exit
from strategies.protection import protection

_BY_ACCOUNT = ["broker", "account"]
_DATABASE = (
    "tickguard_database_up",
    "1 when the rows could be read, 0 when not: the others are then missing.",
)


class RowMetrics(Collector):
    """Reads everything in a handful of queries; says so where the database does not answer."""

    def __init__(self, now: Callable[[], datetime], calendar: Callable[[], Calendar]) -> None:
        self._now = now
        self._calendar = calendar

    def collect(self) -> Iterator[Metric]:
        try:
            now = self._now()
            read = [*_listeners(now), *_protection(now, self._calendar()), *_exits(), *_alerts()]
        except DatabaseError:
            yield gauge(*_DATABASE, 0)
            return
        yield gauge(*_DATABASE, 1)
        yield from read


def _listeners(now: datetime) -> Iterator[Metric]:
    running = BrokerAccount.objects.filter(desired_state=BrokerAccount.DesiredState.RUNNING)
    connected: list[Sample] = []
    ticking: list[Sample] = []
    attempts: list[Sample] = []
    ages: list[Sample] = []
    for account in running.select_related("listener").without_secrets():
        row: Listener | None = getattr(account, "listener", None)
        labels = (account.broker, str(account.pk))
        connected.append((labels, is_connected(row, now)))
        ticking.append((labels, is_ticking(row, now)))
        attempts.append((labels, 0 if row is None else row.reconnect_attempts))
        if row is not None and row.last_tick_at is not None:
            ages.append((labels, (now - row.last_tick_at).total_seconds()))
    yield gauges("tickguard_listener_connected", "1 when its feed is connected.", _BY_ACCOUNT, connected)
    yield gauges("tickguard_listener_ticking", "1 when prices arrive.", _BY_ACCOUNT, ticking)
    yield gauges("tickguard_listener_reconnect_attempts", "Failed attempts in a row.", _BY_ACCOUNT, attempts)
    yield gauges("tickguard_listener_last_tick_age_seconds", "Age of its last price.", _BY_ACCOUNT, ages)


def _protection(now: datetime, calendar: Calendar) -> Iterator[Metric]:
    found = protection(None, now, calendar)
    yield gauge("tickguard_stops_armed", "Stops that are to be watched.", found.armed)
    yield gauge("tickguard_stops_protected", "Armed stops with evidence that they are.", found.protected)
    yield gauge(
        "tickguard_unprotected", "Armed stops without, and exits that need a person.", len(found.unprotected)
    )


def _exits() -> Iterator[Metric]:
    counted = dict(Exit.objects.order_by().values_list("state").annotate(Count("pk")))
    samples = [([state.value], counted.get(state, 0)) for state in ExitState]
    yield gauges("tickguard_exits", "Exits of all time, by how they ended or stand.", ["outcome"], samples)


def _alerts() -> Iterator[Metric]:
    waiting = Alert.objects.filter(acknowledged_at=None, closed_at=None).order_by()
    counted = dict(waiting.values_list("urgency").annotate(Count("pk")))
    samples = [([urgency], counted.get(urgency, 0)) for urgency in Alert.Urgency.values]
    yield gauges(
        "tickguard_alerts_unacknowledged", "Alerts that are open and nobody has seen.", ["urgency"], samples
    )
