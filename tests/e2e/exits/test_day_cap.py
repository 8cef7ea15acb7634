"""The number of order requests a broker takes in a day: first exits go before everything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async

from marketdata.domain.orders import OrderLimits
from strategies.models import Alert, Exit, ExitOrder
from strategies.records import trading_day
from tests.support.trader import AT_DHAN, AT_ZERODHA, Trader
from tests.support.waiting import eventually_async

SBIN = "NSE:SBIN"
CAP = OrderLimits(per_second=10, per_minute=200, per_day=20)


def sent_before(trader: Trader, count: int, *, day: datetime) -> None:
    """Have the record say that so many requests went out on a day. Blocks."""
    strategy = trader.arm(quantity=1, stop="1")
    row = Exit.objects.create(
        strategy=strategy,
        epoch=99,
        reason="manual",
        quantity=1,
        state="aborted",
        created_at=day,
        updated_at=day,
    )
    for number in range(count):
        ExitOrder.objects.create(
            exit=row, account=trader.account, slice_no=number + 1, trading_day=trading_day(day.timestamp()), tag=f"OLD{number}",
            side="SELL", product="MIS", quantity=1, state="void", planned_at=day, sent_at=day, updated_at=day,
        )  # fmt: skip


@pytest.mark.usefixtures("impatient")
@AT_ZERODHA
async def test_the_reserve_is_for_first_orders_and_shortness_is_told(trader: Trader) -> None:
    now = datetime.now(UTC)
    await sync_to_async(sent_before)(trader, 17, day=now)
    await sync_to_async(trader.arm)()
    trader.control.enforce_limits(per_day=CAP.per_day)
    trader.fault("rest", times=1)
    async with trader.running(limits=CAP) as engine:
        trader.breach(engine)
        await eventually_async(trader.sent, 10)
        await eventually_async(lambda: trader.told_of("Seven tenths of the 20"), 10)
        await trader.asked("at the exchange, not filled yet", timeout=20)  # 18 of 20: not priced anew
        assert trader.places() == 1
    assert await Alert.objects.filter(kind="budget", account=trader.account).acount() == 1
    async with trader.running(limits=CAP):  # another process says nothing twice
        await trader.ended("needs_human")
    assert await Alert.objects.filter(kind="budget", account=trader.account).acount() == 1


@AT_DHAN
async def test_when_it_is_used_up_exits_wait_and_leave_on_the_next_day(trader: Trader) -> None:
    now = datetime.now(UTC)
    await sync_to_async(sent_before)(trader, 19, day=now)
    price = Decimal(trader.control.instrument(SBIN)["last"])
    await sync_to_async(trader.arm)(SBIN, stop=str(price))
    await sync_to_async(trader.arm)()
    async with trader.running(limits=CAP) as engine:
        trader.breach(engine, SBIN, str(price))
        await trader.ended()
        trader.breach(engine)
        await eventually_async(lambda: trader.told_of("All 20 order requests"), 10)
        await eventually_async(lambda: trader.told_of("sent on the next trading day"), 10)
        assert (trader.places(), trader.held()) == (1, 100)
    # The day is over: what was sent was sent yesterday.
    yesterday = now - timedelta(days=1)
    await ExitOrder.objects.aupdate(
        trading_day=trading_day(yesterday.timestamp()), sent_at=yesterday, updated_at=yesterday
    )
    async with trader.running(limits=CAP):
        await trader.ended(count=2)
    assert (trader.places(), trader.held()) == (2, 0)
