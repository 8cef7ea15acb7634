"""An order that is sent is not a position that is closed: what is done until it is."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.db.models import Sum

from strategies.domain import trying
from strategies.models import ExitOrder
from tests.support.simulator import RunningSimulator
from tests.support.stopwatch import Stopwatch
from tests.support.trader import AT_DHAN, AT_ZERODHA, INFY, Trader, contracts
from tests.support.waiting import eventually_async

TCS = "NSE:TCS"
"""For what cannot be undone on the exchange: a fixed price band."""


async def test_a_resting_order_is_cancelled_confirmed_and_priced_inside_the_band(trader: Trader) -> None:
    await sync_to_async(trader.arm)()
    trader.fault("rest")
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended()
    first, second = trader.sent()
    assert (first["status"], first["cancelled_by"], first["filled"]) == ("cancelled", "client", 0)
    assert second["filled"] == 100
    assert second["received_at"] >= first["received_at"] + 3
    attempt = await ExitOrder.objects.aget(try_no=2)
    band = trader.control.instrument(INFY)
    assert attempt.price is not None
    assert Decimal(band["lower"]) <= attempt.price < Decimal(1500)


@AT_DHAN
@pytest.mark.usefixtures("impatient")
async def test_what_never_fills_ends_with_a_person(trader: Trader) -> None:
    await sync_to_async(trader.arm)()
    trader.fault("rest", times=99)
    async with trader.running() as engine:
        trader.breach(engine)
        await eventually_async(lambda: len(trader.sent()) == trying.MAX_ATTEMPTS, 20)
        await trader.asked("at the exchange, not filled yet", timeout=15)
    assert sum(row["filled"] for row in trader.sent()) == 0
    live = [row for row in trader.sent() if row["status"] == "open"]
    assert len(live) == 1  # the last one is left where it may fill


@pytest.mark.usefixtures("impatient")
async def test_at_the_lower_circuit_one_order_waits_in_the_queue(trader: Trader) -> None:
    control = trader.control
    control.set_price(TCS, "3000")
    control.set_book(TCS)
    await sync_to_async(trader.arm)(TCS, stop="2900")
    control.set_band(TCS, lower="2800", upper="3300")
    control.set_price(TCS, "2800")
    control.set_book(TCS, bid="0", ask="2800")
    async with trader.running() as engine:
        trader.breach(engine, TCS, "2800.00")
        await trader.asked("Locked at the circuit limit")
        orders = len(trader.sent())
        waiting = trader.sent()[-1]
        assert [row["status"] for row in trader.sent()].count("open") == 1
        began = time.monotonic()
        await eventually_async(lambda: time.monotonic() - began > 3)  # ten times its patience
        assert (len(trader.sent()), trader.sent()[-1]["status"]) == (orders, "open")
        assert (await ExitOrder.objects.alatest("id")).price == Decimal(2800)
        control.set_book(TCS, bid="2800", ask="2800.1")
        await trader.ended()
    [filled] = [row for row in trader.sent() if row["filled"]]
    assert (filled["order_id"], filled["filled"]) == (waiting["order_id"], 100)


@AT_ZERODHA
@pytest.mark.usefixtures("impatient")
async def test_part_fills_of_every_size_end_in_whole_exits(trader: Trader) -> None:
    for quantity in range(1, 10):
        await sync_to_async(trader.arm)(quantity=10, held=90)
        trader.fault("partial", quantity=quantity)
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended(count=9, timeout=30)
    assert {row["filled"] for row in trader.sent() if row["status"] == "cancelled"} == set(range(1, 10))
    exits = ExitOrder.objects.values("exit").annotate(filled=Sum("filled_quantity"))
    assert [row["filled"] async for row in exits] == [10] * 9
    assert trader.held() == 0
    assert not trader.has_turned()


@AT_DHAN
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("refused", [True, False])
async def test_a_fill_that_was_faster_than_our_cancel_is_the_end(trader: Trader, *, refused: bool) -> None:
    for _ in range(5):
        await sync_to_async(trader.arm)(quantity=10, held=50)
    trader.fault("rest", times=5)
    trader.fault("fill_on_cancel", times=5, refused=refused)
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended(count=5, timeout=30)
    assert [row["filled"] for row in trader.sent()] == [10] * 5
    assert not trader.has_turned()


@AT_ZERODHA
@pytest.mark.usefixtures("impatient")
async def test_a_cancelled_order_that_fills_after_all_is_told_and_nothing_is_bought_back(
    trader: Trader, exchange: RunningSimulator
) -> None:
    await sync_to_async(trader.arm)()
    trader.fault("rest")
    trader.fault("late_fill", after_s=4)  # by then the second order is at the broker
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended()
        await eventually_async(lambda: trader.held() == -100, 20)
        watch = Stopwatch(exchange.pid)
        await eventually_async(lambda: trader.told_of("OVERFILL"), 10)
        assert watch.seconds() <= 2.5
    assert [row["side"] for row in trader.sent()] == ["SELL", "SELL"]
    assert trader.places() == 2


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("17070 : The Price is out of the current execution range.", 2),
        ("RMS:Margin Exceeds, Required:75000, Available:0", 1),
        ("A text that nobody has seen before", 1),
    ],
)
async def test_accepted_then_rejected_is_mended_or_asked_about(
    trader: Trader, text: str, orders: int
) -> None:
    await sync_to_async(trader.arm)()
    trader.fault("reject_after_ack", text=text)
    async with trader.running() as engine:
        trader.breach(engine)
        if orders == 1:
            await trader.asked("The broker says: ", text)
        else:
            await trader.ended()
    assert len(trader.sent()) == orders
    assert trader.held() == (100 if orders == 1 else 0)


async def test_where_market_orders_are_blocked_a_limit_leaves(trader: Trader) -> None:
    await sync_to_async(trader.arm)()
    trader.fault("market_blocked", symbol=INFY, times=1)
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended()
    assert (trader.places(), trader.held()) == (2, 0)
    assert (await ExitOrder.objects.aget(try_no=2)).price is not None


async def test_a_limit_too_far_from_the_market_comes_nearer(trader: Trader) -> None:
    await sync_to_async(trader.arm)()
    trader.fault("market_blocked", symbol=INFY, times=1)
    trader.fault("price_protection", percent=0.4, times=1)
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended()
    prices = [row.price async for row in ExitOrder.objects.order_by("try_no")]
    assert prices[0] is None
    assert prices[1] is not None
    assert prices[2] is not None
    assert prices[1] < prices[2] < Decimal(1500)


def option(trader: Trader) -> tuple[str, int]:
    """Return an index option and the freeze quantity that its exchange has, listed by the broker or not."""
    names = [
        c.symbol
        for c in contracts(trader.broker).values()
        if c.exchange == "NFO" and c.instrument_type == "PE"
    ]
    found = ((name, trader.control.instrument(name)["freeze_quantity"]) for name in names)
    return next((name, freeze) for name, freeze in found if freeze)


@AT_DHAN
async def test_more_than_one_order_may_take_goes_in_whole_lots(trader: Trader) -> None:
    symbol, _ = option(trader)
    [contract] = await sync_to_async(trader.listed)(symbol)
    lot = contract.lot_size
    contract.freeze_quantity = 27 * lot + 1
    await contract.asave()
    price = Decimal(trader.control.instrument(symbol)["last"])
    await sync_to_async(trader.arm)(symbol, quantity=28 * lot, stop=str(price), product="NRML")
    async with trader.running() as engine:
        trader.breach(engine, symbol, str(price))
        await trader.ended()
    assert [row["filled"] for row in trader.sent()] == [27 * lot, lot]


async def test_a_freeze_quantity_that_nobody_told_us_is_found(trader: Trader) -> None:
    symbol, freeze = option(trader)
    [contract] = await sync_to_async(trader.listed)(symbol)
    contract.freeze_quantity = None
    await contract.asave()
    quantity = (freeze // contract.lot_size + 1) * contract.lot_size
    price = Decimal(trader.control.instrument(symbol)["last"])
    await sync_to_async(trader.arm)(symbol, quantity=quantity, stop=str(price), product="NRML")
    async with trader.running() as engine:
        trader.breach(engine, symbol, str(price))
        await trader.ended()
    filled = [row["filled"] for row in trader.sent() if row["filled"]]
    assert sum(filled) == quantity
    assert all(part % contract.lot_size == 0 for part in filled)
    assert not trader.has_turned()
