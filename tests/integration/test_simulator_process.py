"""The command: its ready line, its end, its refusals, its seed."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import requests
from django.core.management import CommandError, call_command
from pytest_django import Settings

from marketdata.simulator.accounts import DEMO_ACCESS_TOKEN, DEMO_API_KEY, DEMO_CLIENT_ID
from tests.support.processes import manage
from tests.support.simulator import simulator_environment, start_simulator
from tests.support.simulator_feed import open_feed

INFY, NIFTY = 408065, 256265


def stream(tmp_path: Path, seed: int) -> list[tuple[int, float]]:
    """Return the first ticks after a subscription."""
    with (
        start_simulator(tmp_path, seed=seed) as simulator,
        open_feed(simulator.feed_root, simulator.demo) as feed,
    ):
        feed.subscribe("ltp", [INFY, NIFTY])
        seen = len(feed.packets)
        simulator.control.set_rate(400)
        feed.until(lambda: len(feed.packets) >= seen + 100)
        return [(p["instrument_token"], p["last_price"]) for p in feed.packets[seen : seen + 100]]


def test_one_seed_gives_one_run(tmp_path: Path) -> None:
    assert stream(tmp_path, seed=11) == stream(tmp_path, seed=11)


def test_is_ready_with_a_demo_account_and_ends_well_while_in_use(tmp_path: Path) -> None:
    with start_simulator(tmp_path, rate=50) as simulator:
        assert simulator.ready["brokers"]["zerodha"]["api"] == simulator.api_root
        assert simulator.demo["client_id"] == DEMO_CLIENT_ID
        headers = {"Authorization": f"token {DEMO_API_KEY}:{DEMO_ACCESS_TOKEN}"}
        profile = requests.get(f"{simulator.api_root}/user/profile", headers=headers, timeout=5).json()
        assert profile["data"]["user_id"] == DEMO_CLIENT_ID
        with open_feed(simulator.feed_root, simulator.demo) as feed:
            feed.subscribe("full", [INFY])
            assert simulator.process.stop() == 0


def test_api_and_feed_may_share_a_port() -> None:
    env = simulator_environment()
    env["KITE_FEED_ROOT"] = env["KITE_API_ROOT"].replace("http", "ws")
    with manage("run_simulator", env=env) as process:
        demo = json.loads(process.wait_for('{"ready": true'))["demo"]
        with open_feed(env["KITE_FEED_ROOT"], demo) as feed:
            feed.subscribe("ltp", [INFY])
        assert "INFY" in requests.get(f"{env['KITE_API_ROOT']}/instruments/NSE", timeout=5).text
        assert process.stop() == 0


def test_serves_nothing_but_loopback() -> None:
    env = {**simulator_environment(), "KITE_API_ROOT": "https://api.kite.trade"}
    with manage("run_simulator", env=env) as process:
        assert process.wait() == 1
        (line,) = process.lines
        assert "KITE_API_ROOT=https://api.kite.trade is not on loopback" in line


@pytest.mark.parametrize(
    ("role", "root", "why"),
    [
        ("feed", "ws://192.0.2.7:9000", "KITE_FEED_ROOT=ws://192.0.2.7:9000 is not on loopback"),
        ("api", "http://example.com", "KITE_API_ROOT=http://example.com is not on loopback"),
        ("api", "https://127.0.0.1:9000", "KITE_API_ROOT=https://127.0.0.1:9000 wants TLS"),
    ],
)
def test_refuses_other_addresses(settings: Settings, role: str, root: str, why: str) -> None:
    roots = settings.BROKER_ENDPOINTS
    settings.BROKER_ENDPOINTS = {**roots, "zerodha": {**roots["zerodha"], role: root}}
    with pytest.raises(CommandError, match=why):
        call_command("run_simulator")


def test_refuses_a_control_address_for_everybody(settings: Settings) -> None:
    settings.SIMULATOR_CONTROL = "http://0.0.0.0:9000"
    with pytest.raises(CommandError, match=r"SIMULATOR_CONTROL=http://0\.0\.0\.0:9000 is not on loopback"):
        call_command("run_simulator")


@pytest.mark.parametrize(
    ("option", "why"),
    [("--instruments=10", "10 instruments: choose between"), ("--rate=-1", "--rate -1.0 is below zero")],
)
def test_refuses_bad_options(option: str, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        call_command("run_simulator", option)


def test_a_taken_port_is_named(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings.SIMULATOR_CONTROL = f"http://127.0.0.1:{port}"
        with pytest.raises(CommandError, match=rf"{port}.*address already in use"):
            call_command("run_simulator")
