"""Events since: whoever goes on from the last one misses nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction
from django.utils import timezone

from marketdata.models import BrokerAccount
from strategies.models import Strategy, StrategyEvent
from strategies.services import start_strategy, stop_strategy
from tests.support.api import Program

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:No directory at"),
]


def event(strategy: Strategy, kind: str) -> StrategyEvent:
    return StrategyEvent.objects.create(strategy=strategy, at=timezone.now(), kind=kind)


def test_events_come_oldest_first_and_go_on_where_they_ended(program: Program, strategy: Strategy) -> None:
    stop_strategy(start_strategy(strategy, by=strategy.user))
    start_strategy(strategy)
    first = program.get("events", limit=2)
    assert [row["kind"] for row in first["items"]] == ["started", "stopped"]
    assert first["items"][0]["text"] == "Started: the stop is armed: stop loss 1490.00"
    assert first["items"][0]["detail"]["by"] == "trader"
    assert first["more"]
    rest = program.get("events", since=first["last"])
    assert [row["kind"] for row in rest["items"]] == ["started"]
    assert not rest["more"]
    assert program.get("events", since=rest["last"]) == {"items": [], "last": rest["last"], "more": False}


def test_listeners_have_events_of_their_own(program: Program, account: BrokerAccount) -> None:
    program.post(f"listeners/{account.pk}/start")
    told = program.get("listeners/events")
    assert [(row["kind"], row["account"]) for row in told["items"]] == [("start_asked", account.pk)]


@pytest.mark.only_postgres
def test_what_commits_late_is_waited_for(program: Program, strategy: Strategy) -> None:
    inserted, go_on = threading.Event(), threading.Event()

    def commit_late() -> None:
        try:
            with transaction.atomic():
                event(strategy, "late")
                inserted.set()
                assert go_on.wait(30)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(commit_late)
        assert inserted.wait(30)
        event(strategy, "early")  # its id is the higher one
        assert program.get("events")["items"] == []
        go_on.set()
        late.result(30)
    assert [row["kind"] for row in program.get("events")["items"]] == ["late", "early"]


def test_a_reader_beside_many_writers_sees_each_event_once(program: Program, strategy: Strategy) -> None:
    writers, each = 4, 15

    def write(n: int) -> None:
        try:
            for i in range(each):
                with transaction.atomic():
                    event(strategy, f"{n}-{i}")
        finally:
            connection.close()

    seen: list[int] = []
    kinds: list[str] = []

    def read() -> int:
        told = program.get("events", since=seen[-1] if seen else 0, limit=7)
        seen.extend(row["id"] for row in told["items"])
        kinds.extend(row["kind"] for row in told["items"])
        return len(told["items"])

    with ThreadPoolExecutor(writers) as pool:
        work = [pool.submit(write, n) for n in range(writers)]
        while not all(task.done() for task in work):
            read()
    for task in work:
        task.result()
    while read():
        pass
    assert seen == sorted(set(seen))
    assert len(kinds) == len(set(kinds)) == writers * each
