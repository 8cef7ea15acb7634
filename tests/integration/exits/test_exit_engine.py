"""The exit engine on a real database, against a broker with state."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async

from marketdata.clock import SystemClock
from marketdata.domain.orders import OrderStatus, Quote, Side
from marketdata.domain.prices import to_units
from marketdata.models import Subscription
from strategies.accounts import AccountDesks
from strategies.engine import ExitEngine
from strategies.journal import Journal
from strategies.models import Exit, ExitOrder, StrategyEvent
from strategies.services import exit_now, start_strategy, stop_strategy, update_stop
from strategies.switches import Refusal
from tests.support.exits import ended, make, running, tick
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_breach_sells_the_position_once_and_closes_the_strategy(strategy, broker, told):
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1500.05"), tick("1500.00"), tick("1499.00")])
        [row] = await ended()
    [order] = broker.book.values()
    assert (order.side, order.quantity, order.product, order.status) == (
        Side.SELL, 100, "MIS", OrderStatus.FILLED,
    )  # fmt: skip
    assert broker.held["NSE:INFY", "MIS"] == 0
    attempt = await ExitOrder.objects.aget()
    assert (attempt.state, attempt.filled_quantity, attempt.average_price) == (
        "filled",
        100,
        Decimal("1499.95"),
    )
    assert (attempt.tag, attempt.broker_order_id) == (order.tag, order.order_id)
    assert row.trigger_price == Decimal("1500")
    assert row.strategy.status == "closed"
    assert (row.strategy.sl_triggered, row.strategy.sl_trigger_price) == (True, Decimal("1500"))
    assert not await Subscription.objects.aexists()
    assert {event.kind async for event in StrategyEvent.objects.all()} >= {
        "started", "sl_triggered", "order_planned", "order_acked", "order_filled", "exit_done",
    }  # fmt: skip
    assert told.published == [
        (
            f"strategies:{strategy.user_id}",
            {
                "type": "SL_TRIGGERED", "strategy_id": strategy.pk, "symbol": "NSE:INFY",
                "price": "1500.00", "timestamp": row.created_at.isoformat(),
            },
        )
    ]  # fmt: skip


async def test_a_short_position_is_bought_back(account, instruments, broker, told):
    short = await sync_to_async(make)(
        account, instruments["NSE:SBIN"], position="SOLD", quantity=50, stop_loss=Decimal("800")
    )
    await sync_to_async(start_strategy)(short)
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(short.user_id, [tick("799.95", "NSE:SBIN"), tick("800.00", "NSE:SBIN")])
        await ended()
    assert [order.side for order in broker.book.values()] == [Side.BUY]
    assert broker.held["NSE:SBIN", "MIS"] == 0


async def test_no_position_no_trigger(account, instruments, broker, told):
    watched = await sync_to_async(make)(account, instruments["NSE:INFY"], position="NONE")
    await sync_to_async(start_strategy)(watched)
    async with running(broker, told) as engine:
        assert engine.monitor.armed_count == 0
        engine.monitor.on_ticks(watched.user_id, [tick("1.00")])
        await asyncio.sleep(0)
    assert not await Exit.objects.aexists()


async def test_another_users_feed_triggers_nothing(strategy, broker, told):
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id + 1, [tick("1.00")])
        await asyncio.sleep(0)
        assert engine.monitor.armed_count == 1
    assert not await Exit.objects.aexists()


async def test_ten_thousand_ticks_below_one_stop_give_one_order(strategy, broker, told):
    async with running(broker, told) as engine:
        for _ in range(100):
            engine.monitor.on_ticks(strategy.user_id, [tick("1400.00")] * 100)
        await ended()
        await engine.reconcile()
        engine.monitor.on_ticks(strategy.user_id, [tick("1400.00")] * 100)
        await asyncio.sleep(0)
    assert len(broker.book) == 1
    assert await Exit.objects.acount() == 1


async def test_a_lost_reply_is_found_in_the_book_by_its_tag(strategy, broker, told):
    broker.script.append("lose_reply")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await ended()
    assert len(broker.book) == 1
    assert any("has not confirmed" in text for text in told.alerts())


async def test_an_order_that_cannot_be_found_is_never_sent_again(strategy, broker, told):
    broker.script.append("drop")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(told.alerts, 2)
        reads = broker.reads
        await eventually_async(lambda: broker.reads >= reads + 6, 10)
    assert not broker.book
    row = await Exit.objects.aget()
    assert row.state == "needs_human"
    assert (await ExitOrder.objects.aget()).state == "unknown"
    async with running(broker, told):
        reads = broker.reads
        await eventually_async(lambda: broker.reads >= reads + 2, 10)
    assert not broker.book


async def test_refused_connections_delay_the_exit_and_send_it_once(strategy, broker, told):
    broker.script.extend(["refuse", "not_sent", "refuse"])
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await ended()
    assert len(broker.book) == 1


async def test_a_failing_read_is_never_flat(strategy, broker, told):
    broker.failing_reads = 4
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: any("cannot be read" in text for text in told.alerts()), 5)
        assert await Exit.objects.filter(state="aborted").acount() == 0
        await ended()
    assert len(broker.book) == 1


async def test_a_position_closed_by_hand_is_not_sold_again(strategy, broker, told):
    broker.held["NSE:INFY", "MIS"] = 0
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        [row] = await ended("aborted")
    assert not broker.book
    assert "already closed" in row.concern
    assert row.strategy.status == "closed"


async def test_a_smaller_position_is_sold_and_no_more(strategy, broker, told):
    broker.held["NSE:INFY", "MIS"] = 60
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await ended()
    assert [order.quantity for order in broker.book.values()] == [60]
    assert broker.held["NSE:INFY", "MIS"] == 0


async def test_strategies_on_one_position_never_sum_above_it(account, instruments, broker, told):
    for _ in range(4):
        await sync_to_async(start_strategy)(
            await sync_to_async(make)(account, instruments["NSE:INFY"], quantity=40)
        )
    broker.script.extend(["rest"] * 3)
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(account.user_id, [tick("1499.00")])
        await eventually_async(lambda: len(broker.book) == 3, 10)
        assert sum(order.quantity for order in broker.book.values()) == 100
        for order_id in list(broker.book):
            broker.fill(order_id)
        await ended("done", 3)
        await ended("aborted", 1)
    assert broker.held["NSE:INFY", "MIS"] == 0


async def test_a_refused_order_calls_a_person_with_the_brokers_words(strategy, broker, told):
    broker.script.append("reject")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: any("Insufficient funds" in text for text in told.alerts()), 5)
    assert (await Exit.objects.aget()).state == "needs_human"
    assert not broker.book


async def test_a_resting_order_is_followed_to_its_fill_by_an_order_update(strategy, broker, told):
    broker.script.append("rest")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: broker.book, 5)
        [order_id] = broker.book
        broker.fill(order_id, 40)
        await eventually_async(
            lambda: ExitOrder.objects.filter(filled_quantity=40, state="live").aexists(), 5
        )
        broker.fill(order_id)
        engine.on_order_update(strategy.account_id, broker.book[order_id])
        await ended()


async def test_a_forged_order_update_changes_nothing(strategy, broker, told):
    broker.script.append("rest")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: ExitOrder.objects.filter(state="live").aexists(), 5)
        [row] = broker.book.values()
        reads = broker.reads
        forged = type(row)(
            **{f: getattr(row, f) for f in row.__slots__}
            | {"status": OrderStatus.FILLED, "filled_quantity": 100}
        )
        engine.on_order_update(strategy.account_id, forged)
        await eventually_async(lambda: broker.reads > reads, 5)
    assert (await ExitOrder.objects.aget()).filled_quantity == 0


async def test_an_edit_during_the_breach_wins_or_loses_whole(strategy, broker, told):
    async with running(broker, told) as engine:
        await sync_to_async(update_stop)(strategy, Decimal("1400"))
        engine.monitor.on_ticks(strategy.user_id, [tick("1450.00")])  # judged by the stop before the edit
        engine.wake()
        await eventually_async(lambda: engine.monitor.armed_count == 1, 5)
        assert not await Exit.objects.aexists()
        engine.monitor.on_ticks(strategy.user_id, [tick("1400.00")])
        await ended()
    assert len(broker.book) == 1


async def test_a_stopped_strategy_is_not_sold(strategy, broker, told):
    async with running(broker, told) as engine:
        await sync_to_async(stop_strategy)(strategy)
        engine.monitor.on_ticks(strategy.user_id, [tick("1.00")])
        await eventually_async(lambda: not engine._opener.is_busy, 5)
        await engine.reconcile()
        assert engine.monitor.armed_count == 0
    assert not await Exit.objects.aexists()
    assert not broker.book


async def test_exit_now_is_found_and_worked(strategy, broker, told):
    await sync_to_async(exit_now)(strategy)
    async with running(broker, told):
        [row] = await ended()
    assert row.reason == "manual"
    assert len(broker.book) == 1


async def test_a_paper_account_sends_nothing_and_its_exit_ends(strategy, broker, told):
    async with running(broker, told, refusal=Refusal("A paper account.", is_final=True)) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        [row] = await ended("aborted")
    assert (row.concern, row.strategy.position) == ("A paper account.", "BOUGHT")
    assert not broker.book


async def test_switched_off_trading_holds_the_exit_and_calls_a_person(strategy, broker, told):
    off = Refusal("Live trading is off.", is_final=False)
    async with running(broker, told, refusal=off) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: "Live trading is off." in told.alerts(), 5)
        assert (await Exit.objects.aget()).state == "needs_human"
    assert not broker.book
    async with running(broker, told):  # switched on the same day
        await ended()


async def test_an_old_breach_does_not_sell_when_trading_is_switched_on(strategy, broker, told):
    off = Refusal("Live trading is off.", is_final=False)
    async with running(broker, told, refusal=off) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(told.alerts, 5)
    await Exit.objects.aupdate(created_at=datetime.now(UTC) - timedelta(days=1))
    async with running(broker, told, refusal=off):
        [row] = await ended("aborted")
    assert (row.strategy.status, row.strategy.position) == ("closed", "BOUGHT")


async def test_a_switch_turned_between_plan_and_send_is_heeded(strategy, broker, told):
    switch: list[Refusal] = []
    broker.before_open = lambda: switch.append(Refusal("Live trading is off.", is_final=False))
    clock = SystemClock()
    journal = Journal(told, clock, random.Random(1), lambda _: switch[0] if switch else None)
    engine = ExitEngine(journal, AccountDesks(lambda _: broker, clock), clock)
    await engine.start()
    engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
    await eventually_async(lambda: "Live trading is off." in told.alerts(), 5)
    await engine.stop()
    assert not broker.book


async def test_a_quote_through_the_stop_triggers_after_a_reconnect(strategy, broker, told):
    broker.quoted["NSE:INFY"] = Quote("NSE:INFY", to_units(Decimal("1450")), exchange_time=1)
    async with running(broker, told) as engine:
        await engine.judge_by_quotes(strategy.user_id, strategy.account_id)
        [row] = await ended()
    assert row.evidence["source"] == "quote"
