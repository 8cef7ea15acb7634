"""The same ``Idempotency-Key`` acts once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from project.api.models import StoredAnswer
from strategies.models import Exit, Strategy, StrategyEvent
from strategies.services import exit_now, start_strategy
from tests.support.api import Program

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:No directory at"),
]


def test_a_repeated_exit_is_answered_as_the_first_time(program: Program, strategy: Strategy) -> None:
    start_strategy(strategy)
    first = program.post(f"strategies/{strategy.pk}/exit", key="k1")
    assert (program.heard.status_code, first["status"]) == (200, "exiting")
    assert "Idempotency-Replayed" not in program.heard.headers

    assert program.post(f"strategies/{strategy.pk}/exit", key="k1") == first
    assert program.heard.headers["Idempotency-Replayed"] == "true"
    assert Exit.objects.count() == 1
    program.post(f"strategies/{strategy.pk}/exit")
    assert program.refused() == (409, "refused", "Infosys is already being exited and cannot be exited.")


def test_a_refusal_is_kept_too(program: Program, strategy: Strategy) -> None:
    program.post(f"strategies/{strategy.pk}/exit", key="k1")
    refused = program.refused()
    assert refused[0] == 409
    start_strategy(strategy)
    program.post(f"strategies/{strategy.pk}/exit", key="k1")
    assert program.refused() == refused
    assert not Exit.objects.exists()


def test_a_key_is_for_one_request_of_one_user_on_one_day(
    program: Program, stranger: Program, strategy: Strategy
) -> None:
    path = f"strategies/{strategy.pk}/stop-price"
    program.post(path, {"stop_loss": "1480"}, key="k1")
    program.post(path, {"stop_loss": "1470"}, key="k1")
    assert program.refused()[:2] == (422, "key_reused")
    stranger.post(path, {"stop_loss": "1480"}, key="k1")
    assert stranger.refused()[0] == 404
    assert program.get(f"strategies/{strategy.pk}")["stop_loss"] == "1480.00"

    StoredAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert program.post(path, {"stop_loss": "1470"}, key="k1")["stop_loss"] == "1470.00"


@pytest.mark.parametrize("key", ["x" * 129, "naïve"])
def test_a_key_that_cannot_be_one_is_refused(program: Program, strategy: Strategy, key: str) -> None:
    program.post(f"strategies/{strategy.pk}/stop", key=key)
    assert program.refused()[:2] == (422, "invalid")


def test_two_at_a_time_act_once(user: User, strategy: Strategy) -> None:
    start_strategy(strategy)
    programs = [Program(user, f"robot {n}") for n in range(4)]
    line = threading.Barrier(len(programs), timeout=30)

    def ask(program: Program) -> object:
        line.wait()
        try:
            return program.post(f"strategies/{strategy.pk}/exit", key="k1")
        finally:
            connection.close()

    with ThreadPoolExecutor(len(programs)) as pool:
        answers = list(pool.map(ask, programs))

    assert [program.heard.status_code for program in programs] == [200] * 4
    assert answers == [answers[0]] * 4
    replayed = [program.heard.headers.get("Idempotency-Replayed") for program in programs]
    assert sorted(replayed, key=str) == [None, "true", "true", "true"]
    assert Exit.objects.count() == 1
    assert StrategyEvent.objects.filter(kind="exit_asked").count() == 1


@pytest.mark.only_postgres
def test_one_that_is_under_way_is_told_and_nothing_is_done(program: Program, strategy: Strategy) -> None:
    start_strategy(strategy)
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                StoredAnswer.objects.create(
                    user=strategy.user, key="k1", fingerprint="x", created_at=timezone.now()
                )
                taken.set()
                done.wait(30)
                transaction.set_rollback(True)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        assert taken.wait(30)
        program.post(f"strategies/{strategy.pk}/exit", key="k1")
        assert program.refused()[:2] == (409, "under_way")
        done.set()
    assert not Exit.objects.exists()
    program.post(f"strategies/{strategy.pk}/exit", key="k1")  # what was rolled back stands in nobody's way
    assert program.heard.status_code == 200


def test_a_write_that_breaks_keeps_neither_change_nor_key(
    program: Program, strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_strategy(strategy)

    def and_break(row: Strategy, **by: object) -> Strategy:
        exit_now(row)
        raise RuntimeError("broken after the change")

    monkeypatch.setattr("project.api.routes.strategies.services.exit_now", and_break)
    program.post(f"strategies/{strategy.pk}/exit", key="k1")
    assert program.refused()[:2] == (500, "internal")
    assert not Exit.objects.exists()
    monkeypatch.undo()
    program.post(f"strategies/{strategy.pk}/exit", key="k1")
    assert program.heard.status_code == 200
