"""A broker that books one request twice, or shows an order alive long after its reply was lost."""

from __future__ import annotations

import pytest

from marketdata.domain.orders import OrderStatus
from strategies.models import Alert, ExitOrder
from tests.support.exits import ended, running, tick
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


async def test_the_second_order_of_one_request_is_cancelled_and_told(strategy, broker, told):
    broker.script.append("book_twice")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await ended()
        await eventually_async(lambda: "cancelled" in [row.status for row in broker.book.values()], 20)
        rows = ExitOrder.objects.order_by("id")
        await eventually_async(lambda: _states(rows), 20)
    first, second = [row async for row in rows]
    assert (first.broker_order_id, second.broker_order_id) == tuple(broker.book)
    assert second.tag.startswith(first.tag[:15])
    assert [row.status for row in broker.book.values()] == [OrderStatus.FILLED, OrderStatus.CANCELLED]
    assert broker.held["NSE:INFY", "MIS"] == 0
    assert await Alert.objects.filter(text__contains="OVERFILL").aexists()


async def _states(rows) -> bool:
    return [row.state async for row in rows.all()] == ["filled", "cancelled"]


async def test_an_unknown_order_found_resting_is_priced_anew(strategy, broker, told):
    """It is shown alive and is due at once: one commit finds it and permits its cancel."""
    broker.script += ["rest_unheard", "fill"]
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await ended(timeout=30)
    assert [row.status for row in broker.book.values()] == [OrderStatus.CANCELLED, OrderStatus.FILLED]
    assert broker.held["NSE:INFY", "MIS"] == 0
