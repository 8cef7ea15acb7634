"""Prices and times as brokers write them into JSON."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from marketdata.domain.prices import to_rupees
from marketdata.simulator.exchange import IST

_UNIT = Decimal("0.0000001")


def number(units: int | Decimal) -> float:
    """Return a price as JSON's number. The one place with a float: its shortest text is the price's."""
    return float(
        to_rupees(int(units)) if isinstance(units, int) else (units * _UNIT).quantize(Decimal("0.0001"))
    )


def moment(seconds: float) -> str:
    """Return UNIX seconds as India's clock: ``2026-11-24 09:15:00``."""
    return f"{datetime.fromtimestamp(seconds, IST):%Y-%m-%d %H:%M:%S}"
