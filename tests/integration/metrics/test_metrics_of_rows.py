"""``/metrics`` of the web process: who may read it, and what it says of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from pytest_django import Settings

from marketdata.domain.sessions import Calendar
from marketdata.models import BrokerAccount, Instrument, Listener
from project.metrics.rows import RowMetrics
from strategies.models import Alert, Exit, Strategy
from strategies.services import start_strategy

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at:UserWarning")]
BEARER = "Bearer tests-health-token"


@pytest.fixture
def strategy(account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    row = Strategy.objects.create(
        user=account.user, account=account, instrument=instruments["NSE:INFY"], position="BOUGHT",
        quantity=10, stop_loss=Decimal(1400),
    )  # fmt: skip
    return start_strategy(row)


def lines(client: Client) -> list[str]:
    answer = client.get("/metrics", HTTP_AUTHORIZATION=BEARER)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    return answer.content.decode().splitlines()


def test_how_listeners_stops_exits_and_alerts_are(client: Client, strategy: Strategy, user: User) -> None:
    now, account = timezone.now(), strategy.account_id
    Listener.objects.create(
        account_id=account, state="connected", last_tick_at=now - timedelta(seconds=3), reported_at=now,
        reconnect_attempts=2,
    )  # fmt: skip
    Exit.objects.create(
        strategy=strategy, epoch=9, reason="stop_loss", quantity=10, state="needs_human", created_at=now,
        updated_at=now,
    )  # fmt: skip
    seen = {"acknowledged_at": now}
    for cause, fields in {"a": {}, "b": {}, "c": seen}.items():
        Alert.objects.create(user=user, kind="k", text="t", cause=cause, created_at=now, **fields)
    told = lines(client)
    labels = f'{{account="{account}",broker="zerodha"}}'
    for line in (
        "tickguard_database_up 1.0",
        f"tickguard_listener_connected{labels} 1.0",
        f"tickguard_listener_ticking{labels} 1.0",
        f"tickguard_listener_reconnect_attempts{labels} 2.0",
        "tickguard_stops_armed 1.0",
        "tickguard_stops_protected 1.0",
        "tickguard_unprotected 1.0",
        'tickguard_exits{outcome="needs_human"} 1.0',
        'tickguard_exits{outcome="done"} 0.0',
        'tickguard_alerts_unacknowledged{urgency="urgent"} 2.0',
    ):
        assert line in told
    [age] = [line for line in told if line.startswith("tickguard_listener_last_tick_age_seconds{")]
    assert 3 <= float(age.split()[-1]) < 30


def test_nothing_private_is_a_label(client: Client, strategy: Strategy, user: User) -> None:
    told = "\n".join(lines(client))
    assert strategy.account.client_id not in told
    assert user.username not in told
    assert strategy.account.name not in told


def test_only_staff_and_the_token_may_read(client: Client, user: User, settings: Settings) -> None:
    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer wrong").status_code == 403
    client.force_login(user)
    assert client.get("/metrics").status_code == 403
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.get("/metrics").status_code == 200
    assert client.post("/metrics").status_code == 405
    settings.HEALTH_TOKEN = ""
    client.logout()
    assert client.get("/metrics", HTTP_AUTHORIZATION="Bearer ").status_code == 403


def test_a_database_that_fails_is_a_figure_too() -> None:
    def fails() -> Calendar:
        raise DatabaseError("gone")

    registry = CollectorRegistry(auto_describe=False)
    registry.register(RowMetrics(timezone.now, fails))
    told = [line for line in generate_latest(registry).decode().splitlines() if line[:1] != "#"]
    assert told == ["tickguard_database_up 0.0"]
