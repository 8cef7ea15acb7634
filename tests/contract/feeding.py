"""What tests of feeds share."""

from __future__ import annotations

from marketdata.ports import BrokerConfig
from marketdata.simulator.control import SimulatorControl
from tests.support.waiting import eventually_async

INFY, SBIN, INDEX = "NSE:INFY", "NSE:SBIN", "NSE:NIFTY 50"


async def carried(control: SimulatorControl, config: BrokerConfig, *symbols: str) -> dict[str, str]:
    """Wait until the broker's side carries exactly ``symbols``; return their modes there."""
    found: dict[str, str] = {}

    def same() -> bool:
        found.clear()
        found.update(control.subscriptions(config.client_id))
        assert sorted(found) == sorted(symbols)
        return True

    await eventually_async(same)
    return found
