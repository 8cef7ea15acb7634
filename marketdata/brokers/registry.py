"""The brokers there are. A new one is its folder and its line here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from marketdata.brokers.endpoints import Endpoint
from marketdata.domain.errors import UnknownBroker

if TYPE_CHECKING:
    from marketdata.ports import BrokerAdapter, Login
    from marketdata.simulator.market import Surface

BROKERS = ("zerodha", "dhan")


def adapter(broker: str) -> BrokerAdapter:
    """Return a broker's adapter, imported on first use: SDKs are heavy and set up globals.

    Raises:
        UnknownBroker: Not registered.

    """
    if broker not in BROKERS:
        raise UnknownBroker(f"unknown broker {broker!r}: registered are {', '.join(BROKERS)}")
    return cast("BrokerAdapter", import_module(f"marketdata.brokers.{broker}.adapter").ADAPTER)


def login(broker: str) -> Login:
    """Return how one logs in at a broker; imports no SDK.

    Raises:
        UnknownBroker: Not registered.

    """
    if broker not in BROKERS:
        raise UnknownBroker(f"unknown broker {broker!r}: registered are {', '.join(BROKERS)}")
    return cast("Login", import_module(f"marketdata.brokers.{broker}.login").LOGIN)


def endpoints(broker: str) -> Mapping[str, Endpoint]:
    """Return a broker's endpoints by role; imports no SDK."""
    return cast("Mapping[str, Endpoint]", import_module(f"marketdata.brokers.{broker}.endpoints").ENDPOINTS)


def surface(broker: str) -> Surface:
    """Return a broker's surface on the simulated exchange; imports no SDK."""
    return cast("Surface", import_module(f"marketdata.brokers.{broker}.simulated"))
