"""The real command as a process, against the real simulator."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from marketdata.models import BrokerAccount, Instrument, Listener, ListenerEvent
from marketdata.subscriptions import SubscriptionManager
from strategies.models import Exit, Strategy
from strategies.services import start_strategy, stop_strategy
from tests.support.house import House
from tests.support.processes import manage
from tests.support.stopwatch import within
from tests.support.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(90)]
INFY = "NSE:INFY"
Instruments = Mapping[str, Instrument]


@pytest.fixture
def bare_env(lock_dir: Any) -> dict[str, str]:
    """No Redis, no simulator, no account."""
    return {"LOCK_DIR": str(lock_dir), "REDIS_URL": ""}


@pytest.fixture
def market(house: House) -> House:
    """The house with the simulator's instruments and a price for INFY."""
    house.import_instruments()
    house.simulator.control.set_price(INFY, "1500.00")
    return house


def strategy(account: BrokerAccount, stop: str) -> Strategy:
    row = Strategy.objects.create(
        user=account.user, account=account, position="BOUGHT", quantity=10, stop_loss=Decimal(stop),
        instrument=Instrument.objects.get(exchange="NSE", tradingsymbol="INFY"),
    )  # fmt: skip
    return start_strategy(row)


def is_connected() -> bool:
    return Listener.objects.filter(state="connected").exists()


def test_without_accounts_it_waits_and_sigterm_ends_it_with_0(db: None, bare_env: dict[str, str]) -> None:
    with manage("run_listeners", env=bare_env) as process:
        process.wait_for("are running")
        process.wait_for("0/0 connected")
        assert process.stop() == 0
        assert "listeners stopped" in process.output
        assert process.output.count("REDIS_URL is not set") == 1


def test_a_name_that_cannot_be_used_is_refused(db: None, bare_env: dict[str, str]) -> None:
    with manage("run_listeners", "--worker=a/b", env=bare_env) as process:
        assert process.wait() == 1
        assert "--worker 'a/b' cannot be used" in process.output
        assert len(process.lines) == 1


@pytest.mark.only_sqlite
def test_a_second_one_says_so_in_one_line_and_ends_with_1(db: None, bare_env: dict[str, str]) -> None:
    with manage("run_listeners", env=bare_env) as first:
        first.wait_for("are running")
        with manage("run_listeners", env=bare_env) as second:
            assert second.wait() == 1
            assert len(second.lines) == 1
            assert f"run_listeners is running already: process {first.pid}" in second.output
        assert first.returncode is None


def test_killed_outright_it_leaves_no_lock_behind(db: None, bare_env: dict[str, str]) -> None:
    with manage("run_listeners", env=bare_env) as first:
        first.wait_for("are running")
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with manage("run_listeners", env=bare_env) as second:
        second.wait_for("are running")
        assert second.stop() == 0


def test_prices_flow_and_sigterm_drains(market: House, account: BrokerAccount, user: User) -> None:
    strategy(account, "1000")
    with market.listeners() as process:
        eventually(is_connected, timeout=20)
        market.simulator.control.play(INFY, [f"{price}.50" for price in range(1490, 1495)])
        with market.valkey.client() as client:
            eventually(lambda: json.loads(client.get(f"ltp:{INFY}") or "{}").get("ltp") == "1494.50")
            status = eventually(lambda: json.loads(client.get(f"tickguard:worker:{worker()}") or "{}"))
        assert status["armed"] == 1
        with within(5, process.pid):
            assert process.stop() == 0
    assert Listener.objects.get().state == "stopped"
    kinds = list(ListenerEvent.objects.order_by("id").values_list("kind", flat=True))
    assert kinds == ["connected", "disconnected"]


def exits() -> list[str]:
    return [row.concern or row.state for row in Exit.objects.all()]


def worker() -> str:
    return Listener.objects.get().worker


def carried(market: House, account: BrokerAccount) -> dict[str, Any]:
    return market.simulator.control.subscriptions(account.client_id)


def connections(market: House, account: BrokerAccount) -> int:
    return market.simulator.control.connections().get(account.client_id, 0)


def test_strategies_started_and_stopped_take_effect_within_two_seconds(
    market: House, account: BrokerAccount
) -> None:
    with market.listeners() as process:
        process.wait_for("are running")
        row = strategy(account, "1000")
        eventually(lambda: carried(market, account) == {INFY: "full"}, timeout=20)
        ours = process.pid, market.simulator.pid
        SubscriptionManager().hold("watch:1", account.pk, row.instrument_id)
        stop_strategy(row)
        with within(2.5, *ours):
            eventually(lambda: carried(market, account) == {INFY: "ltp"}, timeout=20)
        SubscriptionManager().release("watch:1", account.pk, row.instrument_id)
        with within(2.5, *ours):
            eventually(lambda: not connections(market, account), timeout=20)
        eventually(lambda: Listener.objects.get().state == "idle", timeout=20)


def test_with_redis_killed_a_stop_still_exits(market: House, account: BrokerAccount) -> None:
    market.simulator.control.set_position(account.client_id, INFY, "MIS", 10)
    strategy(account, "1450")
    with market.listeners():
        eventually(is_connected, timeout=20)
        market.valkey.kill()
        market.simulator.control.set_price(INFY, "1449.95")
        eventually(lambda: exits() == ["done"], timeout=10)


def test_with_redis_frozen_a_stop_still_exits_at_once(market: House, account: BrokerAccount) -> None:
    market.simulator.control.set_position(account.client_id, INFY, "MIS", 10)
    strategy(account, "1450")
    with market.listeners() as process:
        eventually(is_connected, timeout=20)
        market.valkey.freeze()
        with within(1, process.pid, market.simulator.pid):
            market.simulator.control.set_price(INFY, "1449.95")
            eventually(lambda: market.simulator.control.ledger(account.client_id), timeout=10)
        market.valkey.thaw()


def test_a_dropped_feed_comes_back_subscribed_and_the_gap_is_judged(
    market: House, account: BrokerAccount
) -> None:
    market.simulator.control.set_position(account.client_id, INFY, "MIS", 10)
    strategy(account, "1450")
    with market.listeners():
        eventually(is_connected, timeout=20)
        market.simulator.control.fault("refuse", times=2)
        market.simulator.control.drop()
        market.simulator.control.set_price(INFY, "1440.00")
        eventually(lambda: exits() == ["done"], timeout=20)
    assert "disconnected" in ListenerEvent.objects.values_list("kind", flat=True)


def test_a_dead_token_waits_for_todays_login(market: House, account: BrokerAccount) -> None:
    market.simulator.control.kill_token(account.client_id)
    strategy(account, "1000")
    with market.listeners():
        eventually(lambda: Listener.objects.filter(state="login_needed").exists(), timeout=20)
        account.access_token = market.simulator.control.mint_token(account.client_id)
        account.save(update_fields=["access_token"])
        eventually(is_connected, timeout=20)
