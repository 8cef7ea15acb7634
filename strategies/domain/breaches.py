"""A stop that was touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from marketdata.domain.prices import to_rupees
from strategies.domain.stops import Stop


class Breach(NamedTuple):
    """A stop that was touched, with the proof. Prices in units, times in UNIX seconds.

    Attributes:
        stop: As it stood when the price came.
        reason: What its rule calls it ("stop_loss").
        source: "tick" or "quote".
        judged: What the price was judged by before the stop was: the gate's decision, a hold.

    """

    stop: Stop
    reason: str
    price: int
    received_at: float
    exchange_time: int | None
    source: str
    decided_at: float
    judged: Mapping[str, Any] = MappingProxyType({})

    @property
    def loss_rate(self) -> int:
        """Units of money lost for each per cent that the price moves on: the larger, the more urgent."""
        return self.stop.quantity * self.price // 100

    def evidence(self) -> dict[str, Any]:
        """Return the proof as it is kept: prices in rupees, as text."""
        return {
            "source": self.source,
            "price": str(to_rupees(self.price)),
            "stop": str(to_rupees(self.stop.bounds.reached_by(self.price))),
            "received_at": self.received_at,
            "exchange_time": self.exchange_time,
            "decided_at": self.decided_at,
            **self.judged,
        }

    @property
    def intent(self) -> Intent:
        return Intent(
            strategy_id=self.stop.strategy_id,
            epoch=self.stop.epoch,
            user_id=self.stop.user_id,
            symbol=self.stop.symbol,
            reason=self.reason,
            price=self.price,
            loss_rate=self.loss_rate,
            evidence=self.evidence(),
        )


@dataclass(frozen=True, slots=True)
class Intent:
    """What is committed of a breach: to leave the position of one arming. Prices in units.

    ``evidence`` has everything as text and numbers, ``decided_at`` (UNIX seconds) among it.
    """

    strategy_id: int
    epoch: int
    user_id: int
    symbol: str
    reason: str
    price: int
    loss_rate: int
    evidence: dict[str, Any]


def by_urgency(breaches: list[Breach]) -> list[Breach]:
    """Return breaches that came together, the one that loses most first."""
    if len(breaches) == 1:
        return breaches
    return sorted(breaches, key=lambda breach: breach.loss_rate, reverse=True)
