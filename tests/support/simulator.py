"""The real simulator as a subprocess on free loopback ports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marketdata.simulator.control import SimulatorControl
from tests.support.ports import free_ports
from tests.support.processes import Process, manage


@dataclass(frozen=True, slots=True)
class RunningSimulator:
    """A simulator that listens.

    Attributes:
        env: The variables that send the house to it, ``DEBUG`` among them.
        control: Prices, accounts, faults, ledger.
        ready: What it said when it was ready: ``demo`` has the credentials of DEMO01, ``demos``
            those of each broker's own.
        process: The child itself.

    """

    env: Mapping[str, str]
    control: SimulatorControl
    ready: Mapping[str, Any]
    process: Process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def api_root(self) -> str:
        return self.env["KITE_API_ROOT"]

    @property
    def feed_root(self) -> str:
        return self.env["KITE_FEED_ROOT"]

    @property
    def dhan_api_root(self) -> str:
        return self.env["DHAN_API_ROOT"]

    @property
    def dhan_feed_root(self) -> str:
        return self.env["DHAN_FEED_ROOT"]

    @property
    def dhan_demo(self) -> Mapping[str, str]:
        demo: Mapping[str, str] = self.ready["demos"]["dhan"]
        return demo

    @property
    def demo(self) -> Mapping[str, str]:
        demo: Mapping[str, str] = self.ready["demo"]
        return demo


@contextmanager
def start_simulator(tmp_path: Path, *, rate: float = 0, **options: object) -> Iterator[RunningSimulator]:
    """Run a simulator until the block ends, and see that SIGTERM ends it with 0.

    Args:
        tmp_path: Its output is kept there when the test is over.
        rate: Random ticks per second; 0 leaves only scripted prices.
        options: Others of ``run_simulator``: ``seed``, ``instruments``.

    """
    env = simulator_environment()
    arguments = [f"--{name}={value}" for name, value in {"rate": rate, **options}.items()]
    with manage("run_simulator", *arguments, env=env) as process:
        ready = json.loads(process.wait_for('{"ready": true', timeout=60))
        try:
            yield RunningSimulator(env, SimulatorControl(ready["control"]), ready, process)
            assert process.stop() == 0, f"the simulator did not end well: {process.output}"
        finally:
            (tmp_path / "simulator.log").write_text(process.output)


def simulator_environment() -> dict[str, str]:
    """Return the variables of a simulator on ports that are free now."""
    api, feed, control, dhan, dhan_feed, dhan_orders = free_ports(6)
    return {
        "DEBUG": "1",
        "KITE_API_ROOT": f"http://127.0.0.1:{api}",
        "KITE_FEED_ROOT": f"ws://127.0.0.1:{feed}",
        "KITE_LOGIN_ROOT": f"http://127.0.0.1:{api}/connect/login",
        "DHAN_API_ROOT": f"http://127.0.0.1:{dhan}/v2",
        "DHAN_FEED_ROOT": f"ws://127.0.0.1:{dhan_feed}",
        "DHAN_ORDER_FEED_ROOT": f"ws://127.0.0.1:{dhan_orders}",
        "DHAN_AUTH_ROOT": f"http://127.0.0.1:{dhan}",
        "DHAN_INSTRUMENTS_URL": f"http://127.0.0.1:{dhan}/api-data/api-scrip-master.csv",
        "SIMULATOR_CONTROL": f"http://127.0.0.1:{control}",
    }
