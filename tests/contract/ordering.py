"""What tests of orders share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from marketdata.domain.orders import OrderRequest, OrderSnapshot, Side, WriteResult
from marketdata.ports import OrderGateway
from marketdata.simulator.control import SimulatorControl

INFY = "NSE:INFY"
STATIONS = ("TRANSIT", "PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING")
"""Status words of an order that the exchange has not judged yet."""


def sell(tag: str, quantity: int = 10, **more: Any) -> OrderRequest:
    return OrderRequest(tag, INFY, Side.SELL, quantity, "MIS", **more)


def place(gateway: OrderGateway, request: OrderRequest) -> WriteResult:
    wire = gateway.open_wire()
    try:
        wire.prepare(request)
        return wire.send(time.monotonic() + 5)
    finally:
        wire.close()


def cancel(gateway: OrderGateway, order_id: str) -> WriteResult:
    wire = gateway.open_wire()
    try:
        return wire.cancel(order_id)
    finally:
        wire.close()


def find(gateway: OrderGateway, tag: str) -> OrderSnapshot:
    (order,) = [order for order in gateway.orders() if order.tag == tag]
    return order


@dataclass(frozen=True)
class Bench:
    """One account's gateway, and the simulator behind it."""

    gateway: OrderGateway
    control: SimulatorControl
    client_id: str

    def fault(self, name: str, **options: Any) -> None:
        self.control.fault(name, account=self.client_id, **options)

    def booked(self, tag: str) -> list[dict[str, Any]]:
        """Return the orders that came with a tag, from the broker's own ledger."""
        return [row for row in self.control.ledger(self.client_id) if row["tag"] == tag]

    def find(self, tag: str) -> OrderSnapshot:
        return find(self.gateway, tag)

    def place(self, request: OrderRequest) -> WriteResult:
        return place(self.gateway, request)

    def cancel(self, order_id: str) -> WriteResult:
        return cancel(self.gateway, order_id)
