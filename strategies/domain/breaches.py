"""A stop that was touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marketdata.domain.prices import to_rupees
from strategies.domain.stops import Stop


@dataclass(frozen=True, slots=True)
class Breach:
    """A stop that was touched, with the proof. Prices in units, times in UNIX seconds."""

    stop: Stop
    price: int
    received_at: float
    exchange_time: int | None
    source: str  # "tick" or "quote"
    decided_at: float

    def evidence(self) -> dict[str, Any]:
        """Return the proof as it is kept: prices in rupees, as text."""
        return {
            "source": self.source,
            "price": str(to_rupees(self.price)),
            "stop": str(to_rupees(self.stop.price)),
            "received_at": self.received_at,
            "exchange_time": self.exchange_time,
            "decided_at": self.decided_at,
        }
