"""Seven ways in which other systems were seen to lose a stop or to sell twice, tried on this one.

A to C were reproduced by running the peer's own code, D to G by reading it (OpenAlgo at commit
60156bc, and Algomirror for G). Here every one runs against the simulated exchange, on each broker's wire.
"""

from __future__ import annotations

import time

import pytest
from asgiref.sync import sync_to_async

from marketdata.models import BrokerAccount
from strategies.models import Exit, Strategy
from strategies.services import retry_exit
from tests.support.trader import INFY, Listeners, Trader
from tests.support.waiting import eventually, eventually_async

pytestmark = pytest.mark.timeout(240)


def is_subscribed(trader: Trader) -> bool:
    return trader.control.subscriptions(trader.client_id).get(INFY) == "full"


def is_closed(strategy: Strategy) -> bool:
    strategy.refresh_from_db()
    return strategy.status == Strategy.Status.CLOSED


def connections_made(trader: Trader) -> int:
    return trader.control.counters().get("handshakes.accepted", 0)


def lose_the_feed(trader: Trader) -> None:
    """Cut it once it carries the stop's instrument, and wait for the next one."""
    eventually(lambda: is_subscribed(trader), 30)
    made = connections_made(trader)
    assert trader.control.drop(trader.client_id) == 1
    # Counted, not looked for: it may be back before anybody has seen that it was gone.
    eventually(lambda: connections_made(trader) > made, 30)


def sells_once(trader: Trader, strategy: Strategy) -> None:
    """Touch the stop and see one order leave for it."""
    trader.control.set_price(INFY, "1489")
    eventually(lambda: is_closed(strategy), 30)
    assert [(row["side"], row["filled"]) for row in trader.sent()] == [("SELL", 65)]


@pytest.mark.parametrize("how", ["rate_limited", "html", "server_error"])
async def test_case_a_a_failed_position_read_never_deletes_a_stop(trader: Trader, how: str) -> None:
    strategy = await sync_to_async(trader.arm)(quantity=65)
    trader.fault(how, operation="positions", seconds=60)
    async with trader.running() as engine:
        trader.breach(engine)
        await trader.asked("cannot be read")
        await strategy.arefresh_from_db()
        assert (strategy.status, strategy.position, trader.places()) == ("exiting", "BOUGHT", 0)
        trader.control.clear_faults(how, account=trader.client_id)
        await trader.ended()
    assert [row["filled"] for row in trader.sent()] == [65]


async def test_case_b_a_lost_reply_never_sends_a_second_sell(trader: Trader) -> None:
    await sync_to_async(trader.arm)(quantity=65)
    async with trader.running() as engine:
        trader.fault("freeze_book", seconds=60)  # position and book go on showing 65
        trader.fault("lost_reply")
        trader.breach(engine)
        await eventually_async(trader.sent, 10)
        began = time.monotonic()
        await trader.asked("has not confirmed")
        await eventually_async(lambda: time.monotonic() - began > 7, 10)  # three orders, at the peer
        assert trader.places() == 1
        trader.control.clear_faults("freeze_book", account=trader.client_id)
        await trader.ended(timeout=30)
    assert [row["filled"] for row in trader.sent()] == [65]
    assert trader.places() == 1


def test_case_c_a_subscription_that_brings_nothing_is_not_called_one(
    trader: Trader, listeners: Listeners
) -> None:
    strategy = trader.arm(quantity=65, stop="1490")
    trader.fault("silence", seconds=60)
    listeners()
    eventually(trader.why_unprotected, 20)
    trader.control.clear_faults("silence")
    trader.control.drop(trader.client_id)
    eventually(lambda: is_subscribed(trader) and not trader.why_unprotected(), 40)
    sells_once(trader, strategy)


async def test_case_d_accepted_then_rejected_leaves_no_position_bare(trader: Trader) -> None:
    strategy = await sync_to_async(trader.arm)(quantity=65)
    trader.fault("reject_after_ack", text="RMS:Margin Exceeds, Required:75000, Available:0")
    async with trader.running() as engine:
        trader.breach(engine)
        row = await trader.asked("RMS:Margin Exceeds")
        await strategy.arefresh_from_db()
        assert (strategy.status, strategy.position) == ("exiting", "BOUGHT")
        assert await sync_to_async(trader.why_unprotected)() == [row.concern]
        await sync_to_async(retry_exit)(row)
        await trader.ended()
    assert [row["filled"] for row in trader.sent()] == [0, 65]


def test_case_e_a_feed_lost_seven_times_comes_back(trader: Trader, listeners: Listeners) -> None:
    strategy = trader.arm(quantity=65, stop="1490")
    listeners()
    for _ in range(7):
        lose_the_feed(trader)
    eventually(lambda: is_subscribed(trader), 30)
    sells_once(trader, strategy)


def test_case_f_after_a_new_login_stops_are_armed_again(trader: Trader, listeners: Listeners) -> None:
    strategy = trader.arm(quantity=65, stop="1490")
    listeners()
    eventually(lambda: is_subscribed(trader), 20)
    trader.control.kill_token(trader.client_id, drop=True)
    eventually(lambda: any("log in again" in reason for reason in trader.why_unprotected()), 40)
    row = BrokerAccount.objects.get(pk=trader.account.pk)
    row.access_token = trader.control.mint_token(trader.client_id)
    row.generation += 1
    row.save()
    eventually(lambda: is_subscribed(trader), 30)
    sells_once(trader, strategy)


async def test_case_g_a_book_that_cannot_be_read_never_marks_a_position_exited(trader: Trader) -> None:
    strategy = await sync_to_async(trader.arm)(quantity=65)
    trader.fault("rest")
    trader.fault("latency", operation="place", delay_s=0.5)
    async with trader.running() as engine:
        trader.breach(engine)
        await eventually_async(trader.places, 10)
        trader.fault("server_error", operation="orders", seconds=60)
        await trader.asked("cannot be read")
        await strategy.arefresh_from_db()
        assert (strategy.status, strategy.position) == ("exiting", "BOUGHT")
        assert not await Exit.objects.filter(state__in=["done", "aborted"]).aexists()
        trader.control.release(trader.sent()[0]["order_id"])
        trader.control.clear_faults("server_error")
        await trader.ended()
    assert [row["filled"] for row in trader.sent()] == [65]
