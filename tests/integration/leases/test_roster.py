"""Which workers live, by the rows that they move on."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db.models import F

from marketdata import roster
from marketdata.models import Worker
from tests.support.leasing import holdings

pytestmark = pytest.mark.django_db(transaction=True)


def age(name: str, seconds: float) -> None:
    Worker.objects.filter(name=name).update(seen_at=F("seen_at") - timedelta(seconds=seconds))


def test_a_worker_is_there_from_its_first_beat_until_it_leaves() -> None:
    roster.beat("w1")
    [seen] = roster.read()
    assert (seen.name, seen.pid, seen.is_alive) == ("w1", os.getpid(), True)
    assert seen.silent_s < 5
    roster.leave("w1")
    assert roster.read() == []


def test_one_that_is_not_seen_for_ten_seconds_is_dead_until_it_is_seen_again() -> None:
    roster.beat("w1")
    started = Worker.objects.get().started_at
    age("w1", roster.DEAD_S)
    assert not roster.read()[0].is_alive
    roster.beat("w1")
    [seen] = roster.read()
    assert seen.is_alive
    assert seen.started_at == started


def test_a_name_that_another_process_takes_is_its_own() -> None:
    roster.beat("w1")
    Worker.objects.update(pid=1, started_at=F("started_at") - timedelta(days=1))
    roster.leave("w1")  # that row is another process's now
    [before] = roster.read()
    roster.beat("w1")
    [after] = roster.read()
    assert after.pid == os.getpid()
    assert after.started_at - before.started_at > timedelta(hours=23)


def test_the_dead_are_forgotten_after_an_hour_by_those_that_live() -> None:
    roster.beat("dead")
    roster.beat("late")
    age("dead", 3601)
    age("late", 3000)
    roster.beat("w1")
    assert [seen.name for seen in roster.read()] == ["late", "w1"]


def test_a_worker_without_users_is_seen_too(lock_dir: Path, user: User) -> None:
    idle = holdings(lock_dir, "idle")
    idle.look()
    assert [seen.name for seen in roster.read()] == ["idle"]
    assert idle.users == frozenset()
    idle.close()
    assert roster.read() == []
