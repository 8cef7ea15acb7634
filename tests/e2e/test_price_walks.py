"""200 random price walks against a plain oracle: each breach one filled exit, no breach no order.

At each broker alone, and with both accounts of one user watching the same instruments.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from marketdata.brokers import registry
from marketdata.models import BrokerAccount, Instrument
from strategies.models import Strategy
from strategies.services import start_strategy
from tests.support.house import House
from tests.support.waiting import eventually

WALKS = 200
STEPS = 60

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Walk:
    """One strategy and the prices it will see; everything in whole ticks of its instrument."""

    account: BrokerAccount
    instrument: Instrument
    is_long: bool
    product: str
    quantity: int
    stop: int
    prices: Sequence[int]

    @property
    def breaches(self) -> list[int]:
        """The oracle: the prices at or through the stop, in order."""
        return [p for p in self.prices if (p <= self.stop if self.is_long else p >= self.stop)]

    def rupees(self, ticks: int) -> Decimal:
        return ticks * self.instrument.tick_size


def make_prices(start: int, rng: random.Random) -> list[int]:
    price = start
    step = step_of(start)
    return [price := max(1, price + rng.randint(-step, step)) for _ in range(STEPS)]


def step_of(start: int) -> int:
    return max(1, start // 1000)


def make_walk(
    account: BrokerAccount, instrument: Instrument, start: int, prices: Sequence[int], rng: random.Random
) -> Walk:
    is_long = rng.random() < 0.5
    distance = rng.randint(1, 8) * step_of(start)
    stop = start - distance if is_long else start + distance
    quantity = instrument.lot_size * rng.randint(1, 3)
    product = product_of(instrument, is_long, rng)
    return Walk(account, instrument, is_long, product, quantity, stop, prices)


def product_of(instrument: Instrument, is_long: bool, rng: random.Random) -> str:
    """Shares are delivered or closed the same day, delivery cannot be short; contracts are carried."""
    overnight = "CNC" if instrument.instrument_type == "EQ" else "NRML"
    return rng.choice(("MIS", overnight)) if is_long or overnight == "NRML" else "MIS"


def make_walks(house: House, accounts: Sequence[BrokerAccount], seed: int) -> list[Walk]:
    """Return as many walks at each account, on the same instruments and prices."""
    rng = random.Random(seed)
    listed = {broker: shares(broker) for broker in registry.BROKERS}
    everywhere = sorted(set.intersection(*(set(rows) for rows in listed.values())))
    assert len(everywhere) >= WALKS
    walks = []
    for symbol in rng.sample(everywhere, WALKS // len(accounts)):
        last = Decimal(house.simulator.control.instrument(symbol)["last"])
        start = int(last / listed[accounts[0].broker][symbol].tick_size)
        prices = make_prices(start, rng)
        walks += [make_walk(item, listed[item.broker][symbol], start, prices, rng) for item in accounts]
    return walks


def shares(broker: str) -> Mapping[str, Instrument]:
    rows = Instrument.objects.filter(broker=broker, instrument_type="EQ", exchange__in=("NSE", "BSE"))
    return {row.symbol: row for row in rows}


def open_account(user: User, broker: str) -> BrokerAccount:
    demo = registry.surface(broker).DEMO
    stored = {name: demo[name] for name in ("client_id", "api_key", "api_secret", "access_token")}
    return BrokerAccount.objects.create(user=user, broker=broker, **stored)


def arm(house: House, walk: Walk) -> Strategy:
    account = walk.account
    held = walk.quantity if walk.is_long else -walk.quantity
    house.simulator.control.set_position(account.client_id, walk.instrument.symbol, walk.product, held)
    strategy = Strategy.objects.create(
        user=account.user, account=account, instrument=walk.instrument, product=walk.product,
        position="BOUGHT" if walk.is_long else "SOLD", quantity=walk.quantity, stop_loss=walk.rupees(walk.stop),
    )  # fmt: skip
    return start_strategy(strategy)


def watches(house: House, account: BrokerAccount) -> int:
    """Return how many instruments an account's feed carries in full."""
    return Counter(house.simulator.control.subscriptions(account.client_id).values())["full"]


def play(house: House, walks: Sequence[Walk]) -> None:
    for symbol, walk in {walk.instrument.symbol: walk for walk in walks}.items():
        house.simulator.control.play(symbol, [walk.rupees(price) for price in walk.prices])


def check(walk: Walk, strategy: Strategy, orders: Sequence[Mapping[str, Any]]) -> None:
    """Compare one strategy and the orders of its account and instrument with the oracle."""
    strategy.refresh_from_db()
    if not walk.breaches:
        assert (strategy.status, strategy.sl_triggered, orders) == ("active", False, [])
        return
    (order,) = orders
    assert (order["side"], order["product"], order["quantity"], order["filled"]) == (
        "SELL" if walk.is_long else "BUY", walk.product, walk.quantity, walk.quantity,
    )  # fmt: skip
    evidence = strategy.exits.get().evidence
    # A quote, asked for after connecting, may overtake ticks that are still in the socket.
    seen = walk.breaches[:1] if evidence["source"] == "tick" else walk.breaches
    assert strategy.sl_trigger_price in [walk.rupees(price) for price in seen]


@pytest.mark.parametrize("brokers", [(name,) for name in registry.BROKERS] + [registry.BROKERS], ids="+".join)
def test_every_breach_is_exited_once_and_nothing_else_is(
    house: House, user: User, brokers: Sequence[str]
) -> None:
    for broker in registry.BROKERS:
        house.import_instruments(broker)
    accounts = [open_account(user, broker) for broker in brokers]
    walks = make_walks(house, accounts, seed=20261123)
    control = house.simulator.control
    strategies = [arm(house, walk) for walk in walks]
    house.listeners().wait_for("running")
    eventually(lambda: all(watches(house, account) == WALKS // len(accounts) for account in accounts), 30)

    play(house, walks)
    breached = sum(bool(walk.breaches) for walk in walks)
    assert 50 < breached < 150, "the walks must show both"
    eventually(lambda: Strategy.objects.filter(status="closed").count() >= breached, 90)

    for account in accounts:
        ledger = control.ledger(account.client_id)
        held = {p["symbol"]: p["quantity"] for p in control.positions(account.client_id)}
        for walk, strategy in zip(walks, strategies, strict=True):
            if walk.account == account:
                symbol = walk.instrument.symbol
                check(walk, strategy, [order for order in ledger if order["symbol"] == symbol])
                assert (held[symbol] == 0) is (bool(walk.breaches))
    assert len(control.ledger()) == breached
