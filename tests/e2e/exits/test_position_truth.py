"""How much is sold is what the broker says is held, read again for every order."""

from __future__ import annotations

from asgiref.sync import sync_to_async

from strategies.models import Exit, ExitOrder
from tests.support.simulator import RunningSimulator
from tests.support.stopwatch import Stopwatch
from tests.support.trader import AT_DHAN, AT_ZERODHA, INFY, Trader
from tests.support.waiting import eventually_async


def sold(trader: Trader) -> list[tuple[str, int, int]]:
    return [(row["product"], row["quantity"], row["filled"]) for row in trader.sent()]


@AT_ZERODHA
async def test_what_is_held_is_sold_once(trader: Trader) -> None:
    await sync_to_async(trader.arm)()
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended()
    [order] = trader.sent()
    assert [order[name] for name in ("side", "quantity", "filled", "product")] == ["SELL", 100, 100, "MIS"]
    assert trader.held() == 0


async def test_closed_by_hand_nothing_is_sent_and_it_is_said(trader: Trader) -> None:
    await sync_to_async(trader.arm)(held=0)
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended("aborted")
        await eventually_async(lambda: trader.told_of("already closed at the broker"), 10)
    assert trader.places() == 0


@AT_ZERODHA
async def test_turned_by_hand_nothing_is_sent(trader: Trader) -> None:
    await sync_to_async(trader.arm)(held=-30)
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended("aborted")
    assert trader.places() == 0
    assert trader.held() == -30


async def test_partly_closed_the_rest_is_sold_and_no_more(trader: Trader) -> None:
    await sync_to_async(trader.arm)(held=60)
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended()
    assert sold(trader) == [("MIS", 60, 60)]
    assert not trader.has_turned()


async def test_converted_it_is_sold_in_the_product_it_now_has(trader: Trader) -> None:
    strategy = await sync_to_async(trader.arm)(product="CNC")  # held as CNC ...
    strategy.product = "MIS"  # ... while the strategy still says MIS
    await strategy.asave()
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended()
    assert sold(trader) == [("CNC", 100, 100)]


@AT_DHAN
async def test_one_of_two_products_is_not_chosen_by_guess(trader: Trader) -> None:
    strategy = await sync_to_async(trader.arm)(product="CNC", held=60)
    trader.hold(40, product="MTF")
    strategy.product = "MIS"
    await strategy.asave()
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.asked("not clear which position")
    assert trader.places() == 0


@AT_ZERODHA
async def test_squared_off_by_the_broker_while_our_order_rests_nothing_more_is_sold(trader: Trader) -> None:
    await sync_to_async(trader.arm)()
    trader.fault("rest")
    async with trader.running() as engine:
        trader.breach(engine)
        await eventually_async(trader.sent, 10)
        trader.control.place_order(trader.client_id, INFY, "SELL", 100, "MIS")
        await trader.ended("aborted")
    [order] = trader.sent()
    assert (order["filled"], order["cancelled_by"]) == (0, "client")
    assert not trader.has_turned()


async def test_closed_by_hand_while_our_order_is_on_its_way_is_told_within_two_seconds(
    trader: Trader, exchange: RunningSimulator
) -> None:
    """Nobody can prevent it without a reduce-only order; nothing is bought back."""
    await sync_to_async(trader.arm)()
    trader.fault("latency", operation="place", delay_s=3.0)
    async with trader.running() as engine:
        trader.breach(engine)
        await eventually_async(trader.places, 10)
        trader.control.place_order(trader.client_id, INFY, "SELL", 100, "MIS")
        await eventually_async(trader.sent, 10)
        watch = Stopwatch(exchange.pid)
        await eventually_async(lambda: trader.told_of("OVERFILL", "-100"), 10)
        assert watch.seconds() <= 2.5
    assert (trader.places(), trader.held()) == (1, -100)


async def test_the_traders_own_exit_for_all_of_it_is_counted_until_it_is_cancelled(trader: Trader) -> None:
    await sync_to_async(trader.arm)()
    own = trader.control.place_order(trader.client_id, INFY, "SELL", 100, "MIS", price="1550.00")
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.asked(f"Your own open order {own}")
        assert trader.places() == 0
        trader.control.cancel_order(own)
        await trader.ended()
    assert sold(trader) == [("MIS", 100, 100)]
    assert not trader.has_turned()


@AT_ZERODHA
async def test_the_traders_own_exit_for_a_part_leaves_us_the_other_part(trader: Trader) -> None:
    await sync_to_async(trader.arm)()
    own = trader.control.place_order(trader.client_id, INFY, "SELL", 40, "MIS", price="1550.00")
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.asked(own)
        await eventually_async(lambda: sold(trader) == [("MIS", 60, 60)], 10)
        trader.control.cancel_order(own)
        await trader.ended()
    assert sold(trader) == [("MIS", 60, 60), ("MIS", 40, 40)]


@AT_DHAN
async def test_three_strategies_of_fifty_on_a_hundred_sell_a_hundred(trader: Trader) -> None:
    for _ in range(3):
        await sync_to_async(trader.arm)(quantity=50, held=150)
    trader.hold(100)  # cut by hand
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended(count=2)
        await trader.ended("aborted")
    assert sold(trader) == [("MIS", 50, 50)] * 2
    assert not trader.has_turned()


async def test_delivered_shares_are_sold_from_the_demat_account(trader: Trader) -> None:
    await sync_to_async(trader.arm)(product="CNC", held=0)
    trader.control.set_holding(trader.client_id, INFY, 100)
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.ended()
    assert sold(trader) == [("CNC", 100, 100)]


async def test_a_failed_read_is_waited_out(trader: Trader) -> None:
    await sync_to_async(trader.arm)()
    trader.fault("html", operation="positions", seconds=60)
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.asked("cannot be read")
        trader.control.clear_faults("html", account=trader.client_id)
        await trader.ended()
    assert sold(trader) == [("MIS", 100, 100)]
    assert not await Exit.objects.filter(state="aborted").aexists()
    assert await ExitOrder.objects.acount() == 1
