"""The journal writes only what the tables of states allow, whoever asks."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from marketdata.clock import SystemClock
from strategies import records
from strategies.domain.events import Woken
from strategies.domain.exits import EXIT_TRANSITIONS, ORDER_TRANSITIONS, ExitState, OrderState
from strategies.domain.record import Moment
from strategies.journal import Journal, Overtaken
from strategies.models import Exit, ExitOrder, Strategy
from strategies.records import ExitTask, at, trading_day
from strategies.services import new_exit
from tests.support.exits import Told

pytestmark = pytest.mark.django_db
CLOCK = SystemClock()
OTHERS = [(before, after) for before in OrderState for after in OrderState if before is not after]
EXITS = [(before, after) for before in ExitState for after in ExitState if before is not after]


def woken() -> Woken:
    return Woken(Moment(CLOCK.time(), CLOCK.monotonic(), trading_day(CLOCK.time())))


@pytest.fixture
def journal(told: Told) -> Journal:
    return Journal(told, CLOCK, random.Random(), lambda _: None)


def stored(strategy: Strategy, state: OrderState, exit_state: ExitState = ExitState.WORKING) -> ExitTask:
    """Store an exit with one order, as it would be found."""
    now = CLOCK.time()
    row = new_exit(strategy, "stop_loss", at(now), None, {})
    row.save()
    Exit.objects.filter(pk=row.pk).update(state=exit_state)
    ExitOrder.objects.create(
        exit=row, account=strategy.account, trading_day=trading_day(now), tag="TG0", side="SELL",
        product="MIS", quantity=100, state=state, planned_at=at(now), sent_at=at(now), updated_at=at(now),
    )  # fmt: skip
    return records.load(row.pk)


@pytest.mark.parametrize(("before", "after"), OTHERS)
def test_an_order_only_goes_where_it_may(strategy, journal, before, after):
    task = stored(strategy, before)
    new = task.record.with_order(replace(task.record.orders[0], state=after))
    if after in ORDER_TRANSITIONS[before]:
        journal.commit(task, new, woken(), ())
    else:
        with pytest.raises(ValueError, match=f"TG0: {before.value} does not become {after.value}"):
            journal.commit(task, new, woken(), ())
    is_legal = after in ORDER_TRANSITIONS[before]
    assert ExitOrder.objects.get().state == (after if is_legal else before)
    assert Exit.objects.get().version == int(is_legal), "of an illegal step nothing is written"


@pytest.mark.parametrize(("before", "after"), EXITS)
def test_an_exit_only_goes_where_it_may(strategy, journal, before, after):
    task = stored(strategy, OrderState.FILLED, before)
    new = replace(task.record, state=after)
    if after in EXIT_TRANSITIONS[before]:
        journal.commit(task, new, woken(), ())
    else:
        with pytest.raises(ValueError, match=f"{before.value} does not become {after.value}"):
            journal.commit(task, new, woken(), ())
    assert Exit.objects.get().state == (after if after in EXIT_TRANSITIONS[before] else before)


def test_of_two_who_would_permit_one_order_one_does(strategy, journal):
    task = stored(strategy, OrderState.PLANNED)
    new = task.record.with_order(replace(task.record.orders[0], state=OrderState.SENDING))
    journal.commit(task, new, woken(), ())
    with pytest.raises(Overtaken):
        journal.commit(task, new, woken(), ())


def test_no_order_is_planned_without_a_read_that_shows_room(strategy, journal):
    task = stored(strategy, OrderState.VOID)
    planned = replace(task.record.orders[0], tag="TG1", state=OrderState.PLANNED, try_no=2)
    with pytest.raises(Overtaken, match="no room"):
        journal.commit(task, task.record.with_order(planned), woken(), ())
    assert ExitOrder.objects.count() == 1


def test_a_step_from_an_old_version_writes_nothing(strategy, journal):
    task = stored(strategy, OrderState.ACKED)
    journal.commit(task, replace(task.record, concern="first"), woken(), ())
    with pytest.raises(Overtaken):
        journal.commit(task, replace(task.record, concern="second"), woken(), ())
    assert Exit.objects.get().concern == "first"
