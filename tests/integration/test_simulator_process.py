"""The command: its ready line, its end, its refusals, its seed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import requests

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
    first = stream(tmp_path, seed=11)
    assert stream(tmp_path, seed=11) == first
    assert stream(tmp_path, seed=12) != first


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


@pytest.mark.parametrize(
    ("variable", "root", "why"),
    [
        ("KITE_API_ROOT", "https://api.kite.trade", "is not on loopback"),
        ("KITE_FEED_ROOT", "ws://192.0.2.7:9000", "is not on loopback"),
        ("SIMULATOR_CONTROL", "http://0.0.0.0:9000", "is not on loopback"),
        ("KITE_API_ROOT", "https://127.0.0.1:9000", "wants TLS"),
    ],
)
def test_serves_nothing_but_loopback(variable: str, root: str, why: str) -> None:
    with manage("run_simulator", env={**simulator_environment(), variable: root}) as process:
        assert process.wait() == 1
        assert process.lines == [line for line in process.lines if f"{variable}={root} {why}" in line]
        assert len(process.lines) == 1


@pytest.mark.parametrize(
    ("option", "why"),
    [("--instruments=10", "10 instruments: choose between"), ("--rate=-1", "--rate -1.0 is below zero")],
)
def test_refuses_bad_options(option: str, why: str) -> None:
    with manage("run_simulator", option, env=simulator_environment()) as process:
        assert process.wait() == 1
        assert why in process.output
        assert "Traceback" not in process.output


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        env = {**simulator_environment(), "KITE_FEED_ROOT": f"ws://127.0.0.1:{port}"}
        with manage("run_simulator", env=env) as process:
            assert process.wait() == 1
            assert str(port) in process.output
            assert "Traceback" not in process.output
