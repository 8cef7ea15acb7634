"""What becomes of stops while the feed shows nothing: on each broker's wire, with the listeners in a process."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from decimal import Decimal
from itertools import cycle

import pytest

from marketdata.models import BrokerAccount, ListenerEvent
from strategies.models import Alert, SeenRange, Strategy
from tests.support.simulator import RunningSimulator
from tests.support.stopwatch import Stopwatch
from tests.support.trader import AT_DHAN, AT_ZERODHA, INFY, Listeners, Trader
from tests.support.waiting import eventually

logger = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(120)
SBIN = "NSE:SBIN"


def event(trader: Trader, kind: str) -> ListenerEvent | None:
    return ListenerEvent.objects.filter(account=trader.account, kind=kind).order_by("pk").last()


def alerts(trader: Trader) -> str:
    return "\n".join(Alert.objects.filter(user=trader.account.user_id).values_list("text", flat=True))


def quotes_asked(trader: Trader) -> int:
    return trader.control.counters().get("requests.quotes", 0)


def is_closed(strategy: Strategy) -> bool:
    strategy.refresh_from_db()
    return strategy.status == Strategy.Status.CLOSED


def watched(trader: Trader, listeners: Listeners, *stops: tuple[str, str]) -> list[Strategy]:
    """Arm stops and wait until they are protected."""
    armed = [trader.arm(symbol, quantity=65, stop=stop) for symbol, stop in stops]
    listeners()
    eventually(lambda: not trader.why_unprotected(), 30)
    return armed


def while_it_moves(trader: Trader, symbol: str, condition: Callable[[], bool]) -> None:
    """Wait for something while prices of an instrument come, and none afterwards."""
    prices = cycle(["800.00", "801.00"])
    eventually(lambda: trader.control.set_price(symbol, next(prices)) and condition(), 30)


def test_a_silent_feed_is_noticed_and_a_breach_during_it_exits(
    trader: Trader, exchange: RunningSimulator, listeners: Listeners
) -> None:
    strategy, process = trader.arm(quantity=65, stop="1490"), listeners()
    eventually(lambda: not trader.why_unprotected(), 30)
    trader.control.set_price(INFY, "1500.5")  # a frame, and the last one
    watch, began, asked = Stopwatch(exchange.pid, process.pid), time.time(), quotes_asked(trader)
    trader.fault("silence", seconds=90)
    trader.control.set_price(INFY, "1501")
    found = eventually(lambda: event(trader, "disconnected"), 30)
    eventually(lambda: quotes_asked(trader) > asked, 30)
    assert found is not None
    noticed_s, asked_s = found.at.timestamp() - began - watch.queued(), watch.seconds()
    logger.warning("%s: noticed after %.1f s, asked within %.1f s", trader.broker, noticed_s, asked_s)
    assert noticed_s <= 6
    assert asked_s <= 8
    breached = time.time()
    trader.control.set_price(INFY, "1489")
    eventually(lambda: is_closed(strategy), 20)
    logger.warning(
        "%s: sold %.1f s after a breach that no tick told of", trader.broker, time.time() - breached
    )
    assert [row["filled"] for row in trader.sent()] == [65]
    assert strategy.exits.get().evidence["source"] == "quote"


def test_while_no_connection_is_to_be_had_a_breach_exits(trader: Trader, listeners: Listeners) -> None:
    [strategy] = watched(trader, listeners, (INFY, "1490"))
    trader.control.fault("refuse", seconds=90, broker=trader.broker)
    trader.control.drop(trader.client_id)
    eventually(lambda: "its stops are checked by quotes meanwhile" in "".join(trader.why_unprotected()), 15)
    eventually(lambda: "failed 3 times in a row" in alerts(trader), 30)
    breached = time.time()
    trader.control.set_price(INFY, "1489")
    eventually(lambda: is_closed(strategy), 20)
    logger.warning(
        "%s: sold %.1f s after a breach with no feed at all", trader.broker, time.time() - breached
    )
    assert [row["filled"] for row in trader.sent()] == [65]


def test_one_instrument_that_falls_silent_while_it_moves_is_named_and_still_sold(
    trader: Trader, listeners: Listeners
) -> None:
    silent, _ = watched(trader, listeners, (INFY, "1490"), (SBIN, "100"))
    trader.fault("mute", symbol=INFY, seconds=90)
    trader.control.set_price(INFY, "1502")
    reason = f"{INFY}: no tick for"
    while_it_moves(trader, SBIN, lambda: any(reason in why for why in trader.why_unprotected()))
    while_it_moves(
        trader, SBIN, lambda: reason in alerts(trader) and "while its price moved" in alerts(trader)
    )
    assert not any(SBIN in why for why in trader.why_unprotected())
    trader.control.set_price(INFY, "1489")
    eventually(lambda: is_closed(silent), 20)
    assert [(row["symbol"], row["filled"]) for row in trader.sent()] == [(INFY, 65)]


@AT_DHAN
def test_a_quiet_instrument_is_protected_by_quotes_alone(trader: Trader, listeners: Listeners) -> None:
    watched(trader, listeners, (INFY, "1490"))
    asked = quotes_asked(trader)
    eventually(lambda: quotes_asked(trader) >= asked + 3, 30)  # nothing trades, so it was asked for
    eventually(lambda: not trader.why_unprotected(), 10)
    assert event(trader, "silent") is None


def test_a_subscription_that_was_not_taken_is_made_again(trader: Trader, listeners: Listeners) -> None:
    trader.fault("deaf", symbol=INFY)
    [strategy] = watched(trader, listeners, (INFY, "1490"))
    eventually(lambda: trader.control.subscriptions(trader.client_id).get(INFY) == "full", 15)
    trader.control.set_price(INFY, "1489")
    eventually(lambda: is_closed(strategy), 20)
    assert event(trader, "silent") is None


@AT_ZERODHA
def test_an_instrument_that_is_never_carried_is_named_and_still_sold(
    trader: Trader, listeners: Listeners
) -> None:
    trader.fault("deaf", symbol=INFY, seconds=90)
    strategy = trader.arm(quantity=65, stop="1490")
    trader.arm(SBIN, quantity=65, stop="100")
    listeners()
    reason = f"{INFY}: no price has come in the"
    eventually(lambda: any(reason in why for why in trader.why_unprotected()), 40)
    eventually(lambda: reason in alerts(trader), 10)
    trader.control.set_price(INFY, "1489")
    eventually(lambda: is_closed(strategy), 20)


def test_a_dead_token_is_tried_no_more_and_said_and_a_new_one_resumes(
    trader: Trader, listeners: Listeners
) -> None:
    [strategy] = watched(trader, listeners, (INFY, "1490"))
    refused = trader.control.counters().get("handshakes.refused", 0)
    trader.control.kill_token(trader.client_id, drop=True)
    eventually(lambda: "no stop of this account is checked" in alerts(trader), 40)
    eventually(lambda: any("log in again" in reason for reason in trader.why_unprotected()), 10)
    began = time.monotonic()
    row = BrokerAccount.objects.get(pk=trader.account.pk)
    row.access_token = trader.control.mint_token(trader.client_id)
    row.generation += 1
    row.save()
    eventually(lambda: not trader.why_unprotected(), 30)
    logger.warning("%s: protected %.1f s after the new token", trader.broker, time.monotonic() - began)
    assert trader.control.counters().get("handshakes.refused", 0) - refused <= 3
    trader.control.set_price(INFY, "1489")
    eventually(lambda: is_closed(strategy), 20)


@pytest.mark.parametrize("is_out", [False, True], ids=["told", "sold"])
def test_a_price_that_went_through_and_came_back_while_nobody_was_there(
    trader: Trader, listeners: Listeners, *, is_out: bool
) -> None:
    BrokerAccount.objects.update(exit_after_gap=is_out)
    strategy = trader.arm(quantity=65, stop="1490")
    first = listeners()
    eventually(lambda: SeenRange.objects.filter(strategy=strategy).exists(), 30)
    first.kill()
    lowest = min(Decimal(trader.control.instrument(INFY)["low"]), Decimal(1490)) - 5
    for price in (lowest, "1500"):
        trader.control.set_price(INFY, price)
    listeners()
    eventually(lambda: f"traded at {lowest:.2f}, through the stop" in alerts(trader), 30)
    if is_out:
        eventually(lambda: is_closed(strategy), 20)
    assert [row["filled"] for row in trader.sent()] == ([65] if is_out else [])
    assert is_closed(strategy) is is_out
