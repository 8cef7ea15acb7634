"""Prepared statements say and read what the ORM's own would, on either database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from marketdata import statements
from marketdata.models import BrokerAccount
from marketdata.statements import Insert, Objects, Select, Update, run, together
from strategies import records
from strategies.models import Exit, ExitOrder, Strategy, StrategyEvent
from strategies.services import new_exit

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 26, 9, 15, 30, 123456, UTC)
TODAY = date(2026, 11, 26)
DETAIL = {"price": "1499.05", "nested": [1, None, {"ä": '"quoted"'}]}


@pytest.fixture
def exit_(strategy: Strategy) -> Exit:
    row = new_exit(strategy, "stop_loss", NOW, Decimal("1499.0500000"), DETAIL)
    row.save()
    return row


def order(exit_: Exit, tag: str, **columns: object) -> ExitOrder:
    common = {"trading_day": TODAY, "side": "SELL", "product": "MIS", "quantity": 100, "state": "planned"}
    return ExitOrder(
        **{"exit": exit_, "account": exit_.strategy.account, "tag": tag, "planned_at": NOW, "updated_at": NOW,
           **common, **columns}
    )  # fmt: skip


def columns(row: ExitOrder) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in ExitOrder._meta.concrete_fields}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"price": Decimal("0.0000001"), "average_price": Decimal("12345678.1234567")},
        {"opening": -(2**62), "is_queued": True, "message": "100 % of 'it' %s ä\n", "quantity": 0},
        {"sent_at": NOW + timedelta(microseconds=1), "cancels": 32767, "broker_order_id": "x" * 40},
    ],
)
def test_a_row_is_inserted_as_the_orm_reads_it(exit_, given):
    row = order(exit_, "TG1", **given)
    assert run(Insert(ExitOrder)(row)) == row.pk
    assert columns(ExitOrder.objects.get(pk=row.pk)) == columns(row)
    row.message = "saved again"
    row.save()
    assert ExitOrder.objects.count() == 1


def test_an_event_keeps_its_detail(strategy):
    pk = run(Insert(StrategyEvent)(StrategyEvent(strategy=strategy, at=NOW, kind="k", detail=DETAIL)))
    found = StrategyEvent.objects.get(pk=pk)
    assert (found.at, found.kind, found.detail) == (NOW, "k", DETAIL)


def test_an_update_changes_what_is_as_it_is_said_to_be(exit_):
    step = Update(Exit, change=["version", "concern", "updated_at"], where=["id", "version"])
    assert run(step(1, "it is %s", NOW, exit_.pk, 0)) == 1
    assert run(step(2, "never", NOW, exit_.pk, 0)) == 0
    exit_.refresh_from_db()
    assert (exit_.version, exit_.concern, exit_.updated_at) == (1, "it is %s", NOW)


def test_a_refusal_explains_why_a_later_statement_failed(exit_):
    lost = RuntimeError("somebody was quicker")
    refused = Update(Exit, change=["concern"], where=["id"])("nobody", -1).or_fail(lost)
    twice = [Insert(ExitOrder)(order(exit_, "TG1")) for _ in range(2)]
    with pytest.raises(RuntimeError, match="quicker"), transaction.atomic():
        together(refused, *twice)
    with pytest.raises(IntegrityError), transaction.atomic():
        together(*twice, refused)
    assert not ExitOrder.objects.exists()


@pytest.mark.only_postgres
def test_a_failure_behind_the_last_answer_is_a_failure(exit_, monkeypatch):
    send = statements._sent

    def lost_at_the_end(*sent):
        return send(*sent) or psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(statements, "_sent", lost_at_the_end)
    with pytest.raises(OperationalError, match="lost"), transaction.atomic():
        run(Update(Exit, change=["concern"], where=["id"])("written", exit_.pk))


def test_of_what_goes_together_all_is_undone_when_one_fails(exit_):
    step = Update(Exit, change=["concern"], where=["id"])
    lost = RuntimeError("somebody was quicker")
    with pytest.raises(RuntimeError, match="quicker"), transaction.atomic():
        together(step("written", exit_.pk), step("nobody", -1).or_fail(lost))
    with pytest.raises(IntegrityError), transaction.atomic():
        together(
            step("written", exit_.pk),
            Insert(ExitOrder)(order(exit_, "TG1")),
            Insert(ExitOrder)(order(exit_, "TG1", try_no=2)),  # one order per tag
        )
    exit_.refresh_from_db()
    assert (exit_.concern, ExitOrder.objects.count()) == ("", 0)
    assert together(step("again", exit_.pk), step("nobody", -1)) == [1, 0]


def test_orders_of_the_day_are_those_that_the_orm_finds(exit_, account):
    for number, (state, filled, day, age_s) in enumerate(
        [("live", 0, TODAY, 0), ("filled", 100, TODAY, 5), ("filled", 100, TODAY, 50), ("void", 0, TODAY, 0),
         ("live", 0, TODAY - timedelta(1), 0)]
    ):  # fmt: skip
        order(exit_, f"TG{number}", try_no=number, state=state, filled_quantity=filled, trading_day=day,
              updated_at=NOW - timedelta(seconds=age_s)).save()  # fmt: skip
    since = (NOW - timedelta(seconds=10)).timestamp()
    for _ in range(5):  # PostgreSQL keeps the plan from the fourth time on
        rows = run(records.own_orders(account.pk, since, TODAY))
        assert [row[0] for row in rows] == ["TG0", "TG1"]
        assert [one.tag for one in records.not_in_read(rows, since)] == ["TG0", "TG1"]
    assert run(records.own_orders(account.pk, since, TODAY - timedelta(1)))[0][0] == "TG4"
    assert run(records.own_orders(-7, since, TODAY)) == []


def test_an_object_has_what_was_read_and_finds_the_rest(strategy):
    [found] = run(records.begun(strategy.pk))
    with CaptureQueriesContext(connection) as asked:
        known = (found.quantity, found.symbol, found.user_id, found.account_id, found.instrument.tick_size)
    assert known == (
        100,
        strategy.symbol,
        strategy.user_id,
        strategy.account_id,
        strategy.instrument.tick_size,
    )
    assert not asked.captured_queries
    assert (found.name, found.account.client_id) == (strategy.name, strategy.account.client_id)
    assert run(records.begun(-7)) == []


def test_credentials_are_read_as_they_were_stored(account):
    account.access_token = "a-token"
    account.save()
    config = records.account_facts(account.pk, TODAY).config
    assert config == replace(config, access_token=BrokerAccount.objects.get(pk=account.pk).access_token)
    assert config.access_token.reveal() == "a-token"


def test_a_query_that_leaves_a_value_out_is_refused(strategy):
    some = Select(lambda pk, name: Strategy.objects.filter(pk=pk).values_list("pk"), pk=-1, name="nobody's")
    with pytest.raises(ValueError, match="does not ask for name"):
        some(pk=strategy.pk, name="x")


def test_objects_refer_to_each_other():
    made = Objects(Strategy, ("id", "account", "account__live", "account__id"))([(1, 2, True, 2)])
    assert [(one.pk, one.account_id, one.account.pk, one.account.live) for one in made] == [(1, 2, 2, True)]
