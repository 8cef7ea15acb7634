"""The exit engine on a real database, against a broker with state."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import InternalError, OperationalError

from marketdata.clock import SystemClock
from marketdata.domain.orders import OrderStatus, Quote, Side
from marketdata.domain.prices import to_units
from marketdata.domain.ticks import Tick
from marketdata.models import BrokerAccount, Subscription
from strategies.accounts import AccountDesks
from strategies.domain.exits import OrderState
from strategies.engine import ExitEngine
from strategies.journal import Journal
from strategies.models import Exit, ExitOrder, Strategy, StrategyEvent
from strategies.services import exit_now, start_strategy, stop_strategy, update_stop
from strategies.switches import Refusal
from tests.fakes.broker import FakeBroker
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


class Told:
    """Records what was announced."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str, dict[str, Any]]] = []
        self.published: list[tuple[str, dict[str, Any]]] = []

    def tell(self, user_id, kind, body) -> None:
        self.messages.append((user_id, kind, dict(body)))

    def publish(self, channel, message) -> None:
        self.published.append((channel, dict(message)))

    def alerts(self) -> list[str]:
        return [body["text"] for _, kind, body in self.messages if kind == "alert"]


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker(held={("NSE:INFY", "MIS"): 100, ("NSE:SBIN", "MIS"): -50})


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def strategy(account, instruments) -> Strategy:
    return start_strategy(make(account, instruments["NSE:INFY"]))


def make(account, instrument, **fields) -> Strategy:
    fields = {"position": "BOUGHT", "quantity": 100, "stop_loss": Decimal("1500"), **fields}
    return Strategy.objects.create(user=account.user, account=account, instrument=instrument, **fields)


@asynccontextmanager
async def running(
    broker: FakeBroker, told: Told, *, refusal: Refusal | None = None
) -> AsyncIterator[ExitEngine]:
    clock = SystemClock()
    journal = Journal(told, clock, random.Random(1))
    engine = ExitEngine(journal, AccountDesks(lambda _: broker, clock), clock, lambda _: refusal)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def tick(price: str, symbol: str = "NSE:INFY") -> Tick:
    now = SystemClock().time()
    return Tick(symbol, to_units(Decimal(price)), now, int(now))


async def ended(state: str = "done", count: int = 1, timeout: float = 10) -> list[Exit]:
    async def look() -> list[Exit]:
        rows = [row async for row in Exit.objects.filter(state=state).select_related("strategy")]
        return rows if len(rows) == count else []

    return await eventually_async(look, timeout)


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
        await eventually_async(lambda: not engine._opening, 5)
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
    journal = Journal(told, clock, random.Random(1))
    engine = ExitEngine(
        journal, AccountDesks(lambda _: broker, clock), clock, lambda _: switch[0] if switch else None
    )
    await engine.start()
    engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
    await eventually_async(lambda: "Live trading is off." in told.alerts(), 5)
    await engine.stop()
    assert not broker.book


async def test_a_quote_through_the_stop_triggers_after_a_reconnect(strategy, broker, told):
    broker.quoted["NSE:INFY"] = Quote("NSE:INFY", to_units(Decimal("1450")), exchange_time=1)
    async with running(broker, told) as engine:
        await engine.on_connected(strategy.user_id, strategy.account_id)
        [row] = await ended()
    assert row.evidence["source"] == "quote"


async def test_a_breach_outlives_every_error_of_the_database(strategy, broker, told, monkeypatch):
    commit, failing = Journal.open_exit, iter([InternalError("read-only"), OperationalError("locked")])

    def open_exit(self, breach):
        if (error := next(failing, None)) is not None:
            raise error
        return commit(self, breach)

    monkeypatch.setattr(Journal, "open_exit", open_exit)
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await ended()
    assert len(broker.book) == 1


@pytest.mark.parametrize("trouble", ["refuse", "not_sent"])
async def test_an_order_that_cannot_leave_is_told_of_and_tried_on(strategy, broker, told, trouble):
    broker.script.extend([trouble] * 100)
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: any("cannot be sent" in text for text in told.alerts()), 10)
        assert len(told.alerts()) <= 2
        broker.script.clear()
        await ended(timeout=20)
    assert len(broker.book) == 1


async def test_a_refusal_of_an_order_that_is_in_the_book_is_not_believed(strategy, broker, told):
    broker.script.append("refuse_booked")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: ExitOrder.objects.filter(state="live").aexists(), 10)
        [order_id] = broker.book
        broker.fill(order_id)
        await ended()
    assert len(broker.book) == 1


async def test_a_rate_limit_is_waited_out(strategy, broker, told):
    broker.script.extend(["throttle", "throttle"])
    began = SystemClock().monotonic()
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await ended(timeout=15)
    assert SystemClock().monotonic() - began > 3
    assert len(broker.book) == 1


async def test_more_exits_than_a_second_allows_never_send_an_old_plan(account, instruments, broker, told):
    """25 exits of 4 on 100 held; after the tenth the person closes 60 by hand."""
    for _ in range(25):
        await sync_to_async(start_strategy)(
            await sync_to_async(make)(account, instruments["NSE:INFY"], quantity=4)
        )
    sent: list[float] = []

    def close_by_hand() -> None:
        sent.append(SystemClock().monotonic())
        if len(sent) == 10:
            broker.held["NSE:INFY", "MIS"] -= 60

    broker.before_place = close_by_hand
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(account.user_id, [tick("1499.00")])
        await eventually_async(lambda: broker.held["NSE:INFY", "MIS"] == 0, 20)
        await ended("done", 10)
        await ended("aborted", 15)
    assert broker.held["NSE:INFY", "MIS"] == 0
    assert all(later - earlier >= 0.99 for earlier, later in zip(sent, sent[10:], strict=False))


async def test_an_exit_covered_by_another_waits_quietly_and_says_so(account, instruments, broker, told):
    for _ in range(2):
        await sync_to_async(start_strategy)(await sync_to_async(make)(account, instruments["NSE:INFY"]))
    broker.script.append("rest")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(account.user_id, [tick("1499.00")])
        await eventually_async(lambda: any("on their way" in text for text in told.alerts()), 10)
        assert broker.reads <= 2 * 12
    assert len(broker.book) == 1


async def test_reads_that_fail_are_not_repeated_in_a_storm(account, instruments, broker, told):
    for _ in range(20):
        await sync_to_async(start_strategy)(
            await sync_to_async(make)(account, instruments["NSE:INFY"], quantity=2)
        )
    broker.failing_reads = 10_000
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(account.user_id, [tick("1499.00")])
        await eventually_async(told.alerts, 10)
        assert broker.reads <= 6


async def test_a_broker_that_hangs_holds_up_its_own_account_only(account, instruments, broker, told):
    stuck, release = FakeBroker(), threading.Event()
    stuck.before_read = lambda: release.wait(20)
    for _ in range(12):
        other = await BrokerAccount.objects.acreate(user_id=account.user_id, broker=account.broker)
        await sync_to_async(start_strategy)(await sync_to_async(make)(other, instruments["NSE:INFY"]))
    await sync_to_async(start_strategy)(await sync_to_async(make)(account, instruments["NSE:INFY"]))
    clock = SystemClock()
    desks = AccountDesks(lambda config: broker if config.account_id == account.pk else stuck, clock)
    engine = ExitEngine(Journal(told, clock, random.Random(1)), desks, clock, lambda _: None)
    await engine.start()
    try:
        engine.monitor.on_ticks(account.user_id, [tick("1499.00")])
        await eventually_async(lambda: broker.book, 3)
    finally:
        release.set()
        await engine.stop()


async def test_filled_without_its_quantity_is_not_sent_again(strategy, broker, told):
    broker.script.append("fill_late")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: ExitOrder.objects.filter(state="live").aexists(), 5)
        [order_id] = broker.book
        broker.fill(order_id)
        await ended()
    assert len(broker.book) == 1


async def test_the_end_of_an_old_exit_does_not_close_a_new_arming(strategy, broker, told):
    await sync_to_async(exit_now)(strategy)
    await Strategy.objects.aupdate(status="active", epoch=strategy.epoch + 1)
    async with running(broker, told):
        await ended()
    await strategy.arefresh_from_db()
    assert (strategy.status, strategy.position) == ("active", "BOUGHT")
    assert await Subscription.objects.aexists()


async def test_a_permit_committed_while_stopping_is_taken_back(strategy, broker, told, monkeypatch):
    permit, asked = Journal.permit, threading.Event()

    def slow_permit(self, *args):
        asked.set()
        time.sleep(3)
        return permit(self, *args)

    monkeypatch.setattr(Journal, "permit", slow_permit)
    monkeypatch.setattr("strategies.journal.PLAN_MAX_AGE_S", 60)
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(asked.is_set, 5)
    assert not broker.book
    assert (await ExitOrder.objects.aget()).state == "void"


async def test_swapped_credentials_send_nothing(strategy, broker, told):
    broker.client_id = "SOMEONE"
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: any("belongs to SOMEONE" in text for text in told.alerts()), 6)
    assert not broker.book


@pytest.mark.parametrize("found", ["sent", "not sent"])
async def test_an_interrupted_send_is_looked_for_and_not_repeated(strategy, broker, told, found):
    """What a kill between permit and reply leaves behind."""
    now = datetime.now(UTC)
    row = await Exit.objects.acreate(
        strategy=strategy, epoch=strategy.epoch, reason="stop_loss", trigger_price=Decimal("1500"),
        quantity=100, state="working", created_at=now, updated_at=now,
    )  # fmt: skip
    await Strategy.objects.aupdate(status="exiting")
    await ExitOrder.objects.acreate(
        exit=row, account_id=strategy.account_id, trading_day=now.date(), tag="TG0LOST", side="SELL",
        product="MIS", quantity=100, state=OrderState.SENDING, planned_at=now, sent_at=now, updated_at=now,
    )  # fmt: skip
    if found == "sent":
        broker.fill(broker._accept(await _request("TG0LOST")))
    async with running(broker, told):
        if found == "sent":
            await ended()
        else:
            await eventually_async(told.alerts, 5)
            assert (await ExitOrder.objects.aget()).state == "unknown"
    assert len(broker.book) == (1 if found == "sent" else 0)
    assert await ExitOrder.objects.acount() == 1


async def _request(tag: str):
    from marketdata.domain.orders import OrderRequest

    return OrderRequest(tag, "NSE:INFY", Side.SELL, 100, "MIS")


async def test_stopping_lets_a_request_in_hand_finish(strategy, broker, told):
    seen: list[str] = []
    broker.before_place = lambda: seen.append("sending")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(lambda: seen, 5)
    assert (await ExitOrder.objects.aget()).state in ("acked", "filled", "live")
