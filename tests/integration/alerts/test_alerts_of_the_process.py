"""Alerts as the real ``run_listeners`` tells them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils import timezone

from marketdata.models import BrokerAccount, Instrument, Listener
from strategies import deliveries
from strategies.alerts import commit_alert
from strategies.models import Alert, AlertDelivery, StrategyEvent
from strategies.services import start_strategy
from tests.support.exits import make
from tests.support.house import House
from tests.support.processes import manage
from tests.support.sink import Sink, sink
from tests.support.stopwatch import Stopwatch
from tests.support.waiting import eventually

INFY = "NSE:INFY"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def phone() -> Iterator[Sink]:
    with sink() as kept:
        yield kept


@pytest.fixture
def env(lock_dir: Path, phone: Sink) -> dict[str, str]:
    return {"LOCK_DIR": str(lock_dir), "REDIS_URL": "", "ALERT_URLS": phone.url}


def commit(user: User, text: str) -> Alert:
    alert = commit_alert(user_id=user.pk, kind="needs_human", text=text, at=timezone.now())
    assert alert is not None
    return alert


def test_killed_before_it_could_tell_it_tells_at_its_next_start(
    user: User, env: dict[str, str], phone: Sink
) -> None:
    with manage("run_listeners", env=env) as first:
        first.wait_for("are running")
        first.send(signal.SIGSTOP)
        commit(user, "committed while it could not tell")
        first.kill()
    assert phone.posts == []

    with manage("run_listeners", env=env) as second:
        eventually(lambda: AlertDelivery.objects.filter(delivered_at__isnull=False).count() == 2, 20)
        commit(user, "committed by another process")
        eventually(lambda: len(phone.posts) == 2, 2)
        assert second.stop() == 0
    assert "could not tell" in phone.posts[0]["message"]
    assert "hush-hush" not in second.output


def test_what_a_killed_process_was_about_to_tell_the_next_owner_tells_at_once(
    account: BrokerAccount, env: dict[str, str], phone: Sink
) -> None:
    commit(account.user, "claimed by one that was killed then")
    channels = ["page", "apprise 1 (json)"]
    assert deliveries.take([deliveries.Recipient(name) for name in channels], channels, timezone.now())
    with manage("run_listeners", env=env) as process:
        process.wait_for("are running")
        eventually(lambda: phone.posts, deliveries.CLAIM.total_seconds() / 2)
        assert process.stop() == 0
    assert AlertDelivery.objects.filter(delivered_at=None).count() == 0


def test_without_targets_it_says_once_that_only_the_page_tells(db: None, env: dict[str, str]) -> None:
    with manage("run_listeners", env={**env, "ALERT_URLS": ""}) as process:
        process.wait_for("0/0 connected")
        assert process.stop() == 0
    assert process.output.count("ALERT_URLS is not set") == 1


def test_a_bad_target_stops_it_in_plain_words(db: None, env: dict[str, str]) -> None:
    with manage(
        "run_listeners", env={**env, "ALERT_URLS": f"{env['ALERT_URLS']} tgram://a-token"}
    ) as process:
        assert process.wait(30) == 1
    assert "ALERT_URLS: target 2 of 2 cannot be used" in process.lines[-1]
    assert "Traceback" not in process.output
    assert "token" not in process.output


@pytest.mark.timeout(120)
def test_an_exit_nobody_confirms_is_told_of_within_two_seconds_and_its_end_too(
    house: House, account: BrokerAccount, phone: Sink
) -> None:
    house.env = {**house.env, "ALERT_URLS": phone.url}
    control = house.simulator.control
    house.import_instruments()
    control.set_price(INFY, "1500.00")
    control.set_position(account.client_id, INFY, "MIS", 10)
    instrument = Instrument.objects.get(exchange="NSE", tradingsymbol="INFY")
    start_strategy(make(account, instrument, name="Infosys swing", quantity=10, stop_loss=Decimal(1450)))
    with house.listeners() as process:
        eventually(lambda: Listener.objects.filter(state="connected").exists(), 20)
        watch = Stopwatch(process.pid)
        control.fault("lost_reply", account=account.client_id)
        control.fault("hide", account=account.client_id, hide_s=4)
        control.set_price(INFY, "1449.95")
        eventually(lambda: "has not confirmed" in str(phone.posts), 10)
        told_of_doubt = str(phone.posts)
        eventually(lambda: "Filled: sold 10 @" in str(phone.posts), 20)
        eventually(lambda: _told("done").count() == 2)  # written down too
        others_s = watch.queued()

    assert "sold" not in told_of_doubt
    assert phone.titles[0] == "Tickguard: simulator · Infosys swing · needs you"
    assert _took("needs_human", "order_unknown") <= 2 + others_s
    assert _took("done", "exit_done") <= 2 + others_s
    assert not Alert.objects.filter(kind="needs_human", closed_at=None).exists()


def _told(kind: str) -> QuerySet[AlertDelivery]:
    return AlertDelivery.objects.filter(alert__kind=kind, delivered_at__isnull=False)


def _took(kind: str, event: str) -> float:
    """Return the seconds from what happened until every channel had the first alert of it."""
    happened = StrategyEvent.objects.filter(kind=event).latest("pk").at
    first = _told(kind).earliest("alert_id").alert_id
    told = _told(kind).filter(alert=first).latest("delivered_at").delivered_at
    assert told is not None
    return (told - happened).total_seconds()
