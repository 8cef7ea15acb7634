"""Orders through the unmodified SDK, and the broker's own samples to compare answers with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kiteconnect import KiteConnect

from tests.support.waiting import eventually

MOCKS = Path(__file__).resolve().parents[1] / "data" / "zerodha" / "rest"
MARKET = {"order_type": "MARKET", "market_protection": -1}


def order(kite: KiteConnect, **changes: object) -> str:
    values: dict[str, object] = {
        "variety": "regular", "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "SELL",
        "quantity": 10, "product": "MIS", **MARKET,
    }  # fmt: skip
    return str(kite.place_order(**(values | changes)))


def row(kite: KiteConnect, order_id: str) -> dict[str, Any]:
    return next(row for row in kite.orders() if row["order_id"] == order_id)


def settled(kite: KiteConnect, order_id: str, status: str = "COMPLETE") -> dict[str, Any]:
    return eventually(lambda: (found := row(kite, order_id))["status"] == status and found) or {}


def mock(name: str) -> Any:
    return json.loads((MOCKS / f"{name}.json").read_text())["data"]
