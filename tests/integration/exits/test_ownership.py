"""An engine that works the exits of some users only, and of others from some moment on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from marketdata.domain.leasing import NotOwner
from marketdata.statements import Bound
from strategies.models import Exit, ExitOrder
from tests.support.exits import ended, running, tick
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


class Gate:
    """A fence that a test opens and shuts."""

    def __init__(self) -> None:
        self.is_open = True
        self.refused = 0

    def held(self, user_id: int) -> Sequence[Bound[int]]:
        if not self.is_open:
            self.refused += 1
            raise NotOwner(f"user {user_id} belongs to another worker")
        return ()


async def test_a_stop_is_watched_from_the_moment_its_user_is_owned(strategy, broker, told):
    owned = set[int]()
    async with running(broker, told, owned=lambda: owned) as engine:
        await engine.reconcile()
        assert engine.monitor.armed_count == 0
        owned.add(strategy.user_id)
        await engine.recover(owned)
        assert engine.monitor.armed_count == 1
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await ended()
    assert len(broker.book) == 1


async def test_a_user_who_is_let_go_of_is_neither_watched_nor_worked_for(strategy, broker, told):
    owned = {strategy.user_id}
    async with running(broker, told, owned=lambda: owned) as engine:
        owned.clear()
        await engine.drop([strategy.user_id])
        assert engine.monitor.armed_count == 0
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await engine.reconcile()
        assert engine.monitor.armed_count == 0
    assert not await Exit.objects.aexists()
    assert not broker.book


async def test_an_exit_that_is_let_go_of_is_finished_by_whoever_owns_it_next(strategy, broker, told):
    broker.script.append("rest")
    owned, taken_over = {strategy.user_id}, set[int]()
    async with running(broker, told, owned=lambda: owned) as first:
        first.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: ExitOrder.objects.filter(state="live").aexists())
        owned.clear()
        await first.drop([strategy.user_id])
        async with running(broker, told, owned=lambda: taken_over) as second:
            [order_id] = broker.book
            broker.fill(order_id)
            taken_over.add(strategy.user_id)
            await second.recover(taken_over)
            await ended()
    assert len(broker.book) == 1


async def test_whoever_is_not_the_owner_gets_no_order_out(strategy, broker, told):
    gate, owned = Gate(), {strategy.user_id}
    gate.is_open = False
    async with running(broker, told, owned=lambda: owned, fence=gate) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: gate.refused)
        assert not broker.book
        gate.is_open = True
        await engine.recover(owned)
        await ended()
    assert len(broker.book) == 1


async def test_a_touch_that_one_sees_who_has_just_lost_the_user_is_exited_by_the_owner(
    strategy, broker, told
):
    """The price is back before the owner looks: what was seen must not be lost with who saw it."""
    gate, owned = Gate(), {strategy.user_id}
    gate.is_open = False
    async with running(broker, told, owned=lambda: owned, fence=gate) as former:
        former.monitor.on_ticks(strategy.user_id, [tick("1499.00"), tick("1600.00")])
        await eventually_async(Exit.objects.aexists)
        async with running(broker, told) as owner:
            owner.monitor.on_ticks(strategy.user_id, [tick("1600.00")])
            await ended()
    assert len(broker.book) == 1
