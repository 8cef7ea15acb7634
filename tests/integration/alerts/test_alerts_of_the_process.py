"""Alerts as the real ``run_listeners`` tells them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from strategies.alerts import commit_alert
from strategies.models import Alert, AlertDelivery
from tests.support.processes import manage
from tests.support.sink import Sink, sink
from tests.support.waiting import eventually

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


def test_without_targets_it_says_once_that_only_the_page_tells(db: None, env: dict[str, str]) -> None:
    with manage("run_listeners", env={**env, "ALERT_URLS": ""}) as process:
        process.wait_for("0/0 connected")
        assert process.stop() == 0
    assert process.output.count("ALERT_URLS is not set") == 1


def test_a_bad_target_stops_it_in_one_line(db: None, env: dict[str, str]) -> None:
    with manage(
        "run_listeners", env={**env, "ALERT_URLS": f"{env['ALERT_URLS']} tgram://a-token"}
    ) as process:
        assert process.wait(30) == 1
    [line] = process.lines
    assert "ALERT_URLS: target 2 of 2 cannot be used" in line
    assert "token" not in line
