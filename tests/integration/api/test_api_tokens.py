"""Who is let in, and how often."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from time_machine import travel

from project.api.models import ApiToken
from project.api.tokens import NameTaken, issue
from tests.support.api import Program
from tests.support.valkey import PrivateValkey

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


def test_a_token_lets_its_user_in_and_only_its_hash_is_kept(user: User, program: Program) -> None:
    assert program.get("strategies") == {"items": [], "next": None}
    row = ApiToken.objects.get()
    secret = program.headers["Authorization"].removeprefix("Bearer ")
    assert secret.startswith("tg_")
    assert secret not in {str(value) for value in vars(row).values()}
    assert row.last_used_at is not None


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer tg_no-such-token", "Basic dHJhZGVyOng=", "Bearer \xff"]
)
def test_without_one_nothing_is_answered(user: User, sent: str) -> None:
    client = Client()
    client.force_login(user)  # a session is no token: another site's page could use it
    answer = client.get("/api/v1/strategies", headers={"Authorization": sent} if sent else {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert client.post("/api/v1/strategies/1/exit").status_code == 401


def test_what_has_ended_lets_nobody_in(user: User, program: Program) -> None:
    expired = Program(user, "short", lasts=timedelta(microseconds=1))
    expired.get("strategies")
    assert expired.refused()[0] == 401

    user.is_active = False
    user.save()
    program.get("strategies")
    assert program.refused()[0] == 401


def test_a_token_for_reading_writes_nothing(user: User) -> None:
    viewer = Program(user, "viewer", read_only=True)
    viewer.get("strategies")
    assert viewer.heard.status_code == 200
    viewer.post("strategies/1/exit")
    assert viewer.refused()[:2] == (403, "read_only")


def test_names_are_a_user_s_own_and_come_once(user: User, program: Program, stranger: Program) -> None:
    with pytest.raises(NameTaken, match="a token named robot already"):
        issue(user, "robot", timezone.now())
    assert ApiToken.objects.filter(name="robot").count() == 2


@travel("2026-11-26 10:00:12+05:30", tick=False)
def test_too_many_in_a_minute_are_refused_reads_and_writes_apart(
    user: User, program: Program, settings: Settings
) -> None:
    settings.API_WRITES_PER_MINUTE = 2
    for _ in range(3):
        program.post("strategies/1/stop")
    assert program.refused()[:2] == (429, "too_many_requests")
    assert program.heard.headers["Retry-After"] == "49"
    program.get("strategies")
    assert program.heard.status_code == 200
    another = Program(user, "another")
    another.post("strategies/1/stop")
    assert another.refused()[0] == 404


def test_redis_counts_and_without_it_nothing_is_refused_and_the_log_says_so(
    program: Program, valkey: PrivateValkey, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="project.api.limits")
    settings.CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": valkey.url,
            "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1, "IGNORE_EXCEPTIONS": True},
        }
    }
    settings.API_READS_PER_MINUTE = 1
    with travel("2026-11-26 10:00:12+05:30", tick=False):
        codes = []
        for _ in range(2):
            program.get("strategies")
            codes.append(program.heard.status_code)
        valkey.kill()
        program.get("strategies")
        codes.append(program.heard.status_code)
        valkey.start()
        for _ in range(2):
            program.get("strategies")
            codes.append(program.heard.status_code)
    assert codes == [200, 429, 200, 200, 429]  # what was counted before went with the server
    said = [record.levelname for record in caplog.records if record.name == "project.api.limits"]
    assert said == ["WARNING", "INFO"]
