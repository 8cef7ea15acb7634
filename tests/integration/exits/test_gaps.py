"""A price that went through a stop at 1,500 and came back while nobody could see it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from marketdata.domain.orders import Quote
from marketdata.domain.prices import to_units
from marketdata.models import BrokerAccount
from strategies.engine import ExitEngine
from strategies.models import Alert, SeenRange, Strategy, StrategyEvent
from strategies.services import start_strategy, update_stop
from tests.fakes.broker import FakeBroker
from tests.support.exits import ended, make, running
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)
INFY = "NSE:INFY"


class Market:
    """Quotes of one instrument, and an engine that is shown them."""

    def __init__(self, engine: ExitEngine, broker: FakeBroker, strategy: Strategy) -> None:
        self._engine = engine
        self._broker = broker
        self._strategy = strategy

    async def look(self, price: str, low: str, high: str = "1700", *, is_gap: bool = True) -> None:
        """Have stops judged by a quote, and wait until what it told is kept."""
        units = [to_units(Decimal(text)) for text in (price, low, high)]
        self._broker.quoted[INFY] = Quote(INFY, units[0], day_low=units[1], day_high=units[2])
        judge = self._engine.judge_by_quotes
        await judge(self._strategy.user_id, self._strategy.account_id, {INFY}, is_gap=is_gap)
        await eventually_async(
            lambda: SeenRange.objects.filter(low=low, epoch=self._strategy.epoch).aexists()
        )


async def crossings() -> list[dict[str, Any]]:
    return [row.detail async for row in StrategyEvent.objects.filter(kind="crossed_unseen")]


async def test_it_is_told_once_and_the_stop_stays_armed(strategy, broker, told):
    async with running(broker, told) as engine:
        market = Market(engine, broker, strategy)
        await market.look("1600", "1550")
        await market.look("1601", "1490")
        await market.look("1602", "1490")
        [detail] = await crossings()
        assert (detail["extreme"], detail["price"]) == ("1490.00", "1601.00")
        assert engine.monitor.armed_count == 1
    [alert] = [row async for row in Alert.objects.all()]
    assert "NSE:INFY traded at 1490.00, through the stop of" in alert.text
    assert "at 1500.00" in alert.text
    assert alert.text.endswith("Nothing was sent, and the stop stays armed. Exit now if you want to be out.")
    assert alert.urgency == "urgent"
    assert not broker.book


async def test_an_account_that_wants_out_is_out(strategy, broker, told):
    await BrokerAccount.objects.aupdate(exit_after_gap=True)
    async with running(broker, told) as engine:
        market = Market(engine, broker, strategy)
        await market.look("1600", "1550")
        await market.look("1601", "1490")
        [row] = await ended()
    assert (row.reason, row.trigger_price) == ("stop_loss", Decimal(1490))
    assert (row.evidence["source"], row.evidence["back_at"]) == ("gap", "1601.00")
    assert len(broker.book) == 1


async def test_a_low_of_before_the_arming_sells_nothing_and_is_not_told(strategy, broker, told):
    await BrokerAccount.objects.aupdate(exit_after_gap=True)
    async with running(broker, told) as engine:
        market = Market(engine, broker, strategy)
        await market.look("1600", "1400")
        await market.look("1601", "1400", "1701")
        assert await crossings() == []
        assert engine.monitor.armed_count == 1
    assert not broker.book


async def test_a_stop_that_was_moved_begins_anew(strategy, broker, told):
    async with running(broker, told) as engine:
        market = Market(engine, broker, strategy)
        await market.look("1600", "1550")
        await sync_to_async(update_stop)(strategy, Decimal(1540))
        await engine.reconcile()
        await strategy.arefresh_from_db()
        await market.look("1601", "1535")  # before the stop was moved, or after it? nobody knows
        assert await crossings() == []
        await market.look("1601", "1534")
        assert len(await crossings()) == 1


async def test_what_was_in_sight_is_no_gap(strategy, broker, told):
    async with running(broker, told) as engine:
        market = Market(engine, broker, strategy)
        await market.look("1600", "1550")
        await market.look("1600", "1490", is_gap=False)  # a freak print that was not believed
        await market.look("1601", "1490", "1701")
        assert await crossings() == []


async def test_the_next_process_compares_with_what_the_last_one_saw(strategy, broker, told):
    async with running(broker, told) as engine:
        await Market(engine, broker, strategy).look("1600", "1550")
    async with running(broker, told) as engine:
        await Market(engine, broker, strategy).look("1601", "1490")
        assert [detail["extreme"] for detail in await crossings()] == ["1490.00"]


async def test_overnight_it_is_told_and_never_sold(strategy, broker, told):
    await BrokerAccount.objects.aupdate(exit_after_gap=True)
    async with running(broker, told) as engine:
        await Market(engine, broker, strategy).look("1600", "1400")
    async for row in SeenRange.objects.all():
        await SeenRange.objects.aupdate(at=row.at - timedelta(days=1))
    async with running(broker, told) as engine:
        await Market(engine, broker, strategy).look("1601", "1480")
        [alert] = [row async for row in Alert.objects.all()]
        assert "Nothing was sent" in alert.text
        assert engine.monitor.armed_count == 1
    assert not broker.book


async def test_a_price_that_is_still_there_is_an_exit_like_any_other(strategy, broker, told):
    async with running(broker, told) as engine:
        await Market(engine, broker, strategy).look("1600", "1550")
        broker.quoted[INFY] = Quote(
            INFY, to_units(Decimal(1495)), day_low=to_units(Decimal(1490)), day_high=to_units(Decimal(1700))
        )
        await engine.judge_by_quotes(strategy.user_id, strategy.account_id)
        [row] = await ended()
        assert await crossings() == []
    assert row.evidence["source"] == "quote"


async def test_a_strategy_that_is_deleted_holds_up_no_other(strategy, account, instruments, broker, told):
    other = await sync_to_async(make)(
        account, instruments["NSE:SBIN"], position="SOLD", stop_loss=Decimal(900)
    )
    await sync_to_async(start_strategy)(other)
    async with running(broker, told) as engine:
        await sync_to_async(lambda: Strategy.objects.filter(pk=other.pk).delete())()
        units = to_units(Decimal(800))
        broker.quoted["NSE:SBIN"] = Quote("NSE:SBIN", units, day_low=units, day_high=units)
        await engine.judge_by_quotes(strategy.user_id, strategy.account_id, {"NSE:SBIN"})
        await Market(engine, broker, strategy).look("1600", "1550")
