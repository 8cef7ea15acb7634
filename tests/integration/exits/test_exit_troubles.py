"""What goes wrong on the way out: the database, the connection, the broker, this process."""

from __future__ import annotations

import asyncio
import random
import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.db import InternalError, OperationalError

from marketdata import crashpoints
from marketdata.clock import SystemClock
from marketdata.domain.orders import Side
from marketdata.models import BrokerAccount, Subscription
from strategies.accounts import READ_MAX_AGE_S, AccountDesks
from strategies.domain.events import Opened
from strategies.domain.exits import OrderState
from strategies.domain.sending import PLAN_MAX_AGE_S
from strategies.engine import ExitEngine
from strategies.journal import Journal
from strategies.models import Exit, ExitOrder, Strategy
from strategies.records import trading_day
from strategies.services import exit_now, start_strategy
from tests.fakes.broker import FakeBroker
from tests.support.exits import ended, make, running, tick
from tests.support.stopwatch import Stopwatch
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_breach_outlives_every_error_of_the_database(strategy, broker, told, monkeypatch):
    commit, failing = Journal.open_exits, iter([InternalError("read-only"), OperationalError("locked")])

    def open_exits(self, intents):
        if (error := next(failing, None)) is not None:
            raise error
        return commit(self, intents)

    monkeypatch.setattr(Journal, "open_exits", open_exits)
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
    """25 exits of 4 on 100 held; after the tenth the person closes 60 by hand.

    Nobody can call back what was planned by a read of the second before; nothing older may leave.
    """
    for _ in range(25):
        await sync_to_async(start_strategy)(
            await sync_to_async(make)(account, instruments["NSE:INFY"], quantity=4)
        )
    sent: list[float] = []
    queued: list[float] = []  # how long each may have stood between its turn and this look
    watch = Stopwatch()

    def close_by_hand() -> None:
        sent.append(SystemClock().monotonic())
        queued.append(watch.queued())
        if len(sent) == 10:
            broker.held["NSE:INFY", "MIS"] -= 60

    async def all_ended() -> bool:
        return await Exit.objects.filter(state__in=["done", "aborted"]).acount() == 25

    broker.before_place = close_by_hand
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(account.user_id, [tick("1499.00")])
        await eventually_async(all_ended, 40)
        too_many = len(sent) - 10
        assert await Exit.objects.filter(state="aborted").acount() == 15 - too_many
        assert broker.held["NSE:INFY", "MIS"] == -4 * too_many
        if too_many:
            await eventually_async(lambda: any("OVERFILL" in text for text in told.alerts()), 5)
    assert all(at - sent[9] <= READ_MAX_AGE_S + PLAN_MAX_AGE_S for at in sent[10:])
    assert all(
        later - earlier >= 0.99 - stood
        for earlier, later, stood in zip(sent, sent[10:], queued, strict=False)
    )


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
    engine = ExitEngine(Journal(told, clock, random.Random(1), lambda _: None), desks, clock)
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
    commit, asked, release = Journal.commit, threading.Event(), threading.Event()

    def slow_permit(self, task, new, event, commands):
        if isinstance(event, Opened):
            asked.set()
            assert release.wait(20)
        return commit(self, task, new, event, commands)

    monkeypatch.setattr(Journal, "commit", slow_permit)
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(asked.is_set, 5)
        closing = asyncio.create_task(engine._shop.closing.wait())
        closing.add_done_callback(lambda _: release.set())
    assert not broker.book
    assert (await ExitOrder.objects.aget()).state == "void"


async def test_a_process_that_was_paused_in_its_permit_sends_nothing_on_it(
    strategy, broker, told, monkeypatch
):
    """Stopped after the commit and before it is told of it, it sees no time pass from then on."""
    allowed = iter([-1.0, 5.0])

    def pause(name: str) -> None:
        if name == "CP6":
            monkeypatch.setattr("strategies.accounts.PERMIT_WITHIN_S", next(allowed))

    crashpoints.install(pause)
    try:
        async with running(broker, told) as engine:
            engine.monitor.on_ticks(strategy.user_id, [tick("1499.95")])
            await ended()
    finally:
        crashpoints.install(None)
    states = [row.state async for row in ExitOrder.objects.order_by("id")]
    assert states == ["void", "filled"]
    assert len(broker.book) == 1


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
        exit=row, account_id=strategy.account_id, trading_day=trading_day(now.timestamp()), tag="TG0LOST", side="SELL",
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


async def test_a_broker_that_is_slow_to_answer_is_told_of(strategy, broker, told):
    release = threading.Event()
    broker.before_place = lambda: release.wait(20)
    async with running(broker, told) as engine:
        try:
            engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
            await eventually_async(lambda: any("has not confirmed it" in text for text in told.alerts()), 4)
            assert (await ExitOrder.objects.aget()).state == "sending"
        finally:
            release.set()
        await ended()
    assert len(broker.book) == 1
