"""A row that cannot be armed costs no other strategy its stop, and its owner is told."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import OperationalError, connection

from strategies.arming import ArmedReader
from strategies.models import Alert, Exit, Strategy
from strategies.services import start_strategy
from strategies.unarmed import UnarmedNews
from tests.fakes.clock import HandClock
from tests.support.exits import ended, make, running, tick


def poison(strategy: Strategy, column: str, value: str | bytes | int | None) -> None:
    """Write what the services refuse, as a hand in the database can."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE strategies_strategy SET {column} = %s WHERE id = %s",  # noqa: S608
            [value, strategy.pk],
        )


BAD_ROWS = [
    ("quantity", 0, "its quantity is 0"),
    ("stop_loss", None, "it has no stop-loss"),
    ("stop_loss", "0", "can never be reached"),
    ("stop_loss", "-12.5", "can never be reached"),
    ("position", "HELD", "its position is 'HELD'"),
]
ONLY_SQLITE_STORES = [
    ("stop_loss", "cheap", "its stop-loss cannot be read"),
    ("quantity", "ten", "its quantity is 'ten'"),
    ("stop_loss", b"\x00", "its stop-loss cannot be read"),  # no digest can be made of it
]
ONLY_POSTGRES_STORES = [("stop_loss", "NaN", "price NaN is not a finite number")]
BAD_HERE = BAD_ROWS + (ONLY_SQLITE_STORES if connection.vendor == "sqlite" else ONLY_POSTGRES_STORES)


@pytest.fixture
def bad(account, instruments) -> Strategy:
    return start_strategy(make(account, instruments["NSE:SBIN"]))


@pytest.mark.parametrize(("column", "value", "reason"), BAD_HERE)
def test_a_bad_row_is_left_out_with_its_reason(strategy, bad, column, value, reason):
    poison(bad, column, value)
    stops, unarmed = ArmedReader().read()
    assert [stop.strategy_id for stop in stops] == [strategy.pk]
    assert [(row.strategy_id, row.user_id, row.account_id) for row in unarmed] == [
        (bad.pk, bad.user_id, bad.account_id)
    ]
    assert reason in unarmed[0].reason


@pytest.mark.parametrize(("column", "value", "reason"), BAD_HERE)
def test_its_owner_is_told_until_the_row_is_in_order(strategy, bad, column, value, reason):
    news, before = UnarmedNews(HandClock()), Strategy.objects.values_list(column, flat=True).get(pk=bad.pk)
    poison(bad, column, value)
    for _ in range(2):
        news.tell(ArmedReader().read()[1])
    alert = Alert.objects.get()
    assert alert.user_id == bad.user_id
    assert (alert.urgency, alert.closed_at) == ("urgent", None)
    assert f"Strategy {bad.pk} is active, but its stop is not watched: " in alert.text
    assert reason in alert.text

    poison(bad, column, str(before))
    UnarmedNews(HandClock()).tell(
        ArmedReader().read()[1]
    )  # another process: it knows of the alert all the same
    alert.refresh_from_db()
    assert alert.closed_at is not None


def test_what_another_process_told_of_its_users_stays(strategy, bad):
    poison(bad, "quantity", 0)
    UnarmedNews(HandClock()).tell(ArmedReader().read()[1], {bad.user_id})
    news = UnarmedNews(HandClock())
    news.tell([], {bad.user_id + 1})
    assert Alert.objects.get().closed_at is None
    news.tell([], {bad.user_id, bad.user_id + 1})
    assert Alert.objects.get().closed_at is not None


def test_news_that_cannot_be_written_are_told_with_the_next_reading(bad, monkeypatch):
    news = UnarmedNews(HandClock())
    poison(bad, "quantity", 0)
    unarmed = ArmedReader().read()[1]

    def locked(*_: object, **__: object) -> None:
        raise OperationalError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr("strategies.unarmed.commit_alert", locked)
        news.tell(unarmed)
    assert not Alert.objects.exists()
    news.tell(unarmed)
    assert Alert.objects.get().strategy_id == bad.pk


def test_what_is_only_watched_is_not_a_bad_row(account, instruments):
    start_strategy(make(account, instruments["NSE:INFY"], position="NONE", quantity=0, stop_loss=None))
    assert ArmedReader().read() == ([], [])


@pytest.mark.django_db(transaction=True)
async def test_the_others_are_exited_all_the_same(broker, told, strategy, bad):
    from asgiref.sync import sync_to_async

    await sync_to_async(poison)(bad, "quantity", 0)
    async with running(broker, told) as engine:
        assert engine.monitor.armed_count == 1
        alert = await Alert.objects.aget()
        assert alert.strategy_id == bad.pk
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.95")])
        (row,) = await ended()
        assert (row.strategy_id, row.reason) == (strategy.pk, "stop_loss")
        assert Decimal(row.evidence["stop"]) == 1500
    assert await Exit.objects.acount() == 1
