"""An exit that waits for a person is tried again, or ended, when they say so."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async

from marketdata.domain.orders import OrderStatus
from strategies.domain import absence, folding, sentences, trying
from strategies.models import Exit, ExitOrder, StrategyEvent
from strategies.services import StrategyError, abandon_exit, exit_now, retry_exit
from tests.support.exits import ended, running, tick
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


async def waits_for_a_person(text: str) -> Exit:
    async def look() -> Exit | None:
        waiting = Exit.objects.filter(state="needs_human", concern__contains=text)
        return await waiting.select_related("strategy__instrument", "strategy__user").afirst()

    return await eventually_async(look, 10)


async def test_a_refused_exit_is_sent_again_when_a_person_says_so(strategy, broker, told):
    broker.script.append("reject")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        row = await waits_for_a_person("not enough margin")
        assert "Insufficient funds" in row.concern
        assert not broker.book
        await sync_to_async(retry_exit)(row, by=row.strategy.user)
        engine.wake()
        await ended()
    assert [order.status for order in broker.book.values()] == [OrderStatus.FILLED]
    assert await StrategyEvent.objects.filter(kind="retry_asked", detail__by="trader").aexists()


async def test_an_order_given_up_by_a_person_is_sent_anew(strategy, broker, told, monkeypatch):
    monkeypatch.setattr(folding, "QUIET_S", 0)
    broker.script.append("drop")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        row = await waits_for_a_person("has not confirmed it")
        await sync_to_async(retry_exit)(row)
        engine.wake()
        await ended()
    assert len(broker.book) == 1
    assert [o.state async for o in ExitOrder.objects.order_by("id")] == ["lost", "filled"]


async def test_an_order_with_a_sign_of_life_is_not_given_up(strategy, broker, told, monkeypatch):
    """The position shrank without an order that explains it: whatever a person says, it was ours."""
    monkeypatch.setattr(absence, "QUIET_S", 0)
    monkeypatch.setattr(absence, "SPACING_S", 0)
    broker.script.append("drop")
    async with running(broker, told) as engine:
        broker.before_place = lambda: broker.held.update({("NSE:INFY", "MIS"): 0})
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        row = await waits_for_a_person("has not confirmed it")
        doubted = StrategyEvent.objects.filter(kind="order_doubted", detail__text__icontains="has changed by")
        await eventually_async(doubted.aexists, 10)
        await sync_to_async(retry_exit)(row)
        engine.wake()
        reads = broker.reads
        await eventually_async(lambda: broker.reads >= reads + 9, 15)
    assert not broker.book
    assert (await ExitOrder.objects.aget()).state == "unknown"


async def test_an_exit_ended_by_a_person_takes_its_order_back(strategy, broker, told, monkeypatch):
    monkeypatch.setattr(trying, "REPRICE_S", (600.0,))
    monkeypatch.setattr(sentences, "RESTING_S", 0.0)
    broker.script.append("rest")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        row = await waits_for_a_person("not filled yet")
        await sync_to_async(abandon_exit)(row, by=row.strategy.user)
        await eventually_async(lambda: ExitOrder.objects.filter(state="cancelled").aexists(), 30)
    assert [order.status for order in broker.book.values()] == [OrderStatus.CANCELLED]
    await row.arefresh_from_db()
    assert (row.state, row.concern) == ("aborted", "Ended by trader: the rest is theirs.")
    await strategy.arefresh_from_db()
    assert (strategy.status, strategy.position) == ("closed", "BOUGHT")


@pytest.mark.parametrize("decide", [retry_exit, abandon_exit])
async def test_an_exit_that_gets_on_waits_for_nobody(strategy, decide):
    await sync_to_async(exit_now)(strategy)
    row = await Exit.objects.select_related("strategy__instrument").aget()
    with pytest.raises(StrategyError, match="does not wait"):
        await sync_to_async(decide)(row)
