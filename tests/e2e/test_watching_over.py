"""Health and metrics of the whole house, by what its processes really do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.error import HTTPError

import pytest

from marketdata.models import BrokerAccount, Instrument, Listener
from strategies.models import Strategy
from strategies.services import start_strategy
from tests.support import deployed
from tests.support.house import House
from tests.support.ports import free_ports
from tests.support.processes import Process, manage
from tests.support.scraping import BEARER, Scrape, get, refused, scrape
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)
INFY, SBIN = "NSE:INFY", "NSE:SBIN"


@pytest.fixture
def armed(house: House, account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    """Ten shares bought, their stop at 1490, the price at 1500."""
    house.simulator.control.set_price(INFY, "1500")
    house.simulator.control.set_position(account.client_id, INFY, "MIS", 10)
    row = Strategy.objects.create(
        user=account.user, account=account, instrument=instruments[INFY], position="BOUGHT", quantity=10,
        stop_loss=Decimal(1490),
    )  # fmt: skip
    return start_strategy(row)


def listeners(house: House, port: int) -> Process:
    process = house.listeners("--worker", "w1", env={"METRICS_PORT": str(port)})
    process.wait_for("metrics are at", 60)
    eventually(lambda: house.simulator.control.subscriptions("DEMO01").get(INFY) == "full", 20)
    return process


def healthy(address: str) -> dict[str, Any]:
    """Return the report when it is answered with 200 and has seen three ticks; otherwise nothing."""
    try:
        found: dict[str, Any] = json.loads(get(f"{address}/health/websocket", BEARER))
    except HTTPError as exc:
        exc.close()
        return {}
    return found if found["tick_processor"]["total_ticks"] >= 3 else {}


def protected(address: str) -> Scrape:
    """Return the figures of the web process, which must show the one stop protected."""
    seen = scrape(address)
    assert seen("tickguard_stops_protected") == 1
    return seen


def test_figures_follow_a_tick_to_its_order(house: House, armed: Strategy) -> None:
    control, account = house.simulator.control, armed.account_id
    [port] = free_ports(1)
    process, worker = listeners(house, port), f"http://127.0.0.1:{port}"
    address = house.web()
    control.play(INFY, ["1500.05", "1500.10", "1500.15"])

    told = eventually(lambda: healthy(address), 40)
    feed = told["listeners"][str(armed.user_id)][f"zerodha:{account}"]
    assert 0 <= feed.pop("last_tick_age_s") < 12
    assert feed == {
        "state": "connected", "is_connected": True, "is_ticking": True, "subscribed_symbols": [INFY],
        "subscription_count": 1, "reconnect_attempts": 0, "worker": "w1", "last_error": "",
    }  # fmt: skip
    assert told["protection"] == {"armed": 1, "protected": 1, "unprotected": []}
    assert set(told["tick_processor"]) == {
        "total_ticks", "error_count", "error_rate", "avg_processing_time_ms", "p99_processing_time_ms",
        "symbols_tracked", "ticks_per_second", "refused",
    }  # fmt: skip

    before = scrape(worker, {})
    assert before("tickguard_ticks_total") >= 3
    assert before("tickguard_tick_to_decision_seconds_count") == before("tickguard_ticks_total")
    assert before("tickguard_tick_to_decision_seconds_bucket", le="10.0") >= 3
    assert before("tickguard_feeds_connected", broker="zerodha") == 1
    assert before("tickguard_feeds_connected", broker="dhan") == 0
    assert before("tickguard_feed_instruments", broker="zerodha") == 1
    assert before("tickguard_worker_stops_armed") == 1
    assert before("tickguard_worker", worker="w1") == 1
    assert before("tickguard_event_loop_lag_seconds_count") > 0
    assert before("process_open_fds") > 5
    seen = eventually(lambda: protected(address), 20)
    assert seen("tickguard_stops_armed") == 1
    assert seen("tickguard_listener_ticking", broker="zerodha", account=str(account)) == 1

    assert deployed.names() - before.names - seen.names == set()

    old = before("tickguard_ticks_refused_total", reason="out_of_order")
    control.set_price(INFY, "1500.20", age_s=60)
    eventually(lambda: scrape(worker, {})("tickguard_ticks_refused_total", reason="out_of_order") > old, 20)
    control.drop()
    eventually(lambda: scrape(worker, {})("tickguard_feed_reconnects_total", broker="zerodha") == 1, 20)
    control.set_price(INFY, "1489")
    eventually(lambda: scrape(worker, {})("tickguard_decision_to_order_seconds_count") == 1, 20)
    eventually(lambda: scrape(address)("tickguard_exits", outcome="done") == 1, 20)
    assert scrape(worker, {})("tickguard_decision_to_order_seconds_bucket", le="10.0") == 1
    assert scrape(worker, {})("tickguard_worker_stops_armed") == 0
    assert process.stop() == 0


def test_a_silent_feed_is_degraded_and_its_instruments_are_stale(house: House, armed: Strategy) -> None:
    control = house.simulator.control
    [port] = free_ports(1)
    listeners(house, port)
    address = house.web()
    control.kill_token("DEMO01", drop=True)  # quotes are refused as well: nothing shows a price any more
    eventually(lambda: not Listener.objects.filter(state="connected").exists(), 20)
    assert refused(f"{address}/health/websocket", BEARER) == 503
    seen = scrape(address)
    assert seen("tickguard_stops_protected") == 0
    assert seen("tickguard_unprotected") == 1
    stale = eventually(
        lambda: scrape(f"http://127.0.0.1:{port}", {})("tickguard_stale_instruments", broker="zerodha"), 40
    )
    assert stale == 1


def test_a_port_that_is_taken_costs_the_metrics_only(house: House, armed: Strategy) -> None:
    [port] = free_ports(1)
    first = listeners(house, port)
    env = {**house.env, "METRICS_PORT": str(port), "LOCK_DIR": f"{house.env['LOCK_DIR']}/other"}
    with manage("run_listeners", "--worker", "w2", env=env) as second:
        line = second.wait_for("METRICS_PORT:", 60)
        assert f"METRICS_PORT: 127.0.0.1:{port} cannot be used (" in line
        assert "Each process of a machine needs a port of its own." in line
        second.wait_for("are running")
        assert first.stop() == 0
        second.wait_for("metrics are at")
        assert scrape(f"http://127.0.0.1:{port}", {})("tickguard_worker", worker="w2") == 1
        assert second.output.count("METRICS_PORT:") == 1
