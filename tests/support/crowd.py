"""Several users with an account at every broker and many stops, for real workers to share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.contrib.auth.models import User
from django.utils import timezone

from marketdata.brokers import registry
from marketdata.domain.sessions import Calendar
from marketdata.models import Lease, Listener
from marketdata.simulator.control import SimulatorControl
from strategies.models import Exit, Strategy
from strategies.protection import protection
from tests.support.trader import Trader, contracts

STOP, THROUGH = Decimal("0.97"), Decimal("0.965")
"""Of the price at the beginning: inside the day's band, and no freak print."""


@dataclass(slots=True)
class Crowd:
    """``traders`` are accounts: each user has one at every broker."""

    control: SimulatorControl
    traders: list[Trader]
    prices: dict[str, Decimal]
    strategies: list[Strategy]

    @classmethod
    def gather(cls, control: SimulatorControl, users: int, stops: int) -> Crowd:
        """Open the accounts and arm ``stops`` stops, spread evenly over them. Blocks."""
        people = [User.objects.create_user(f"crowd-{number}") for number in range(users)]
        traders = [Trader.join(broker, control, user) for user in people for broker in registry.BROKERS]
        symbols = _shares()[: -(-stops // len(traders))]
        prices = {symbol: Decimal(control.instrument(symbol)["last"]) for symbol in symbols}
        places = [(trader, symbol) for symbol in symbols for trader in traders][:stops]
        strategies = [
            trader.arm(symbol, quantity=10, stop=str(_at(symbol, prices[symbol] * STOP)))
            for trader, symbol in places
        ]
        return cls(control, traders, prices, strategies)

    def shares(self) -> dict[str, int]:
        """Return by worker how many users it owns."""
        owners = Lease.objects.exclude(expires_at=None).values_list("worker", flat=True)
        return {worker: list(owners).count(worker) for worker in owners}

    def feeds_since(self, moment: datetime) -> set[str]:
        """Return the workers of the feeds, all of which were connected after ``moment``; empty: not all yet."""
        feeds = Listener.objects.filter(
            state="connected", connected_at__gt=moment, reported_at__gt=moment
        ).values_list("worker", flat=True)
        return set(feeds) if len(feeds) == len(self.traders) else set()

    def is_protected(self) -> bool:
        """Tell whether every stop is shown as protected."""
        found = protection(None, timezone.now(), Calendar(always=True))
        return found.protected == found.armed == len(self.strategies)

    def fall(self) -> None:
        """Have the price of the first instrument, on which every account has a stop, go through all of them."""
        symbol = next(iter(self.prices))
        self.control.set_price(symbol, _at(symbol, self.prices[symbol] * THROUGH))

    def is_out(self) -> bool:
        """Tell whether each of those positions is sold, and once; raises ``AssertionError`` with how they are."""
        states = Counter(Exit.objects.values_list("state", flat=True))
        assert states == {"done": len(self.traders)}
        symbol = next(iter(self.prices))
        assert not any(trader.has_turned() for trader in self.traders)
        return not any(trader.held(symbol) for trader in self.traders)


def _shares() -> list[str]:
    lists = [contracts(broker) for broker in registry.BROKERS]
    common = set.intersection(*(set(one) for one in lists))
    return sorted(
        name for name in common if name.startswith("NSE:") and lists[0][name].instrument_type == "EQ"
    )


def _at(symbol: str, price: Decimal) -> Decimal:
    """Return the valid price nearest to ``price``."""
    tick = contracts("zerodha")[symbol].tick_size
    return (price / tick).to_integral_value() * tick
