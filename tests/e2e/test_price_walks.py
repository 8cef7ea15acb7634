"""200 random price walks against a plain oracle: each breach one filled exit, no breach no order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import pytest

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

    instrument: Instrument
    is_long: bool
    product: str
    quantity: int
    stop: int
    prices: Sequence[int]

    @property
    def breach(self) -> int | None:
        """The oracle: the first price at or through the stop."""
        hits = (p for p in self.prices if (p <= self.stop if self.is_long else p >= self.stop))
        return next(hits, None)

    def rupees(self, ticks: int) -> Decimal:
        return ticks * self.instrument.tick_size


def make_walk(instrument: Instrument, last: Decimal, rng: random.Random) -> Walk:
    price = start = int(last / instrument.tick_size)
    step = max(1, start // 1000)
    prices = [price := max(1, price + rng.randint(-step, step)) for _ in range(STEPS)]
    is_long = rng.random() < 0.5
    distance = rng.randint(1, 8) * step
    stop = start - distance if is_long else start + distance
    quantity = instrument.lot_size * rng.randint(1, 3)
    return Walk(instrument, is_long, product_of(instrument, is_long, rng), quantity, stop, prices)


def product_of(instrument: Instrument, is_long: bool, rng: random.Random) -> str:
    """Shares are delivered or closed the same day, delivery cannot be short; contracts are carried."""
    overnight = "CNC" if instrument.instrument_type == "EQ" else "NRML"
    return rng.choice(("MIS", overnight)) if is_long or overnight == "NRML" else "MIS"


def make_walks(house: House, seed: int) -> list[Walk]:
    rng = random.Random(seed)
    equities = list(
        Instrument.objects.filter(instrument_type="EQ", exchange__in=("NSE", "BSE")).order_by("id")
    )
    assert len(equities) >= WALKS
    control = house.simulator.control
    return [
        make_walk(row, Decimal(control.instrument(row.symbol)["last"]), rng)
        for row in rng.sample(equities, WALKS)
    ]


def arm(house: House, account: BrokerAccount, walk: Walk) -> Strategy:
    held = walk.quantity if walk.is_long else -walk.quantity
    house.simulator.control.set_position(account.client_id, walk.instrument.symbol, walk.product, held)
    strategy = Strategy.objects.create(
        user=account.user, account=account, instrument=walk.instrument, product=walk.product,
        position="BOUGHT" if walk.is_long else "SOLD", quantity=walk.quantity, stop_loss=walk.rupees(walk.stop),
    )  # fmt: skip
    return start_strategy(strategy)


def test_every_breach_is_exited_once_and_nothing_else_is(house: House, account: BrokerAccount) -> None:
    house.import_instruments()
    walks = make_walks(house, seed=20261123)
    control = house.simulator.control
    strategies = [arm(house, account, walk) for walk in walks]
    house.listeners().wait_for("running")
    eventually(lambda: Counter(control.subscriptions(account.client_id).values())["full"] == WALKS, 30)

    for walk in walks:
        control.play(walk.instrument.symbol, [walk.rupees(price) for price in walk.prices])
    breached = [walk.breach is not None for walk in walks]
    assert 50 < sum(breached) < 150, "the walks must show both"
    eventually(lambda: Strategy.objects.filter(status="closed").count() >= sum(breached), 90)

    orders = {order["symbol"]: order for order in control.ledger()}
    assert len(control.ledger()) == len(orders) == sum(breached)
    for walk, strategy in zip(walks, strategies, strict=True):
        strategy.refresh_from_db()
        if walk.breach is None:
            assert (strategy.status, strategy.sl_triggered) == ("active", False)
            continue
        order = orders[walk.instrument.symbol]
        assert (order["side"], order["product"], order["quantity"], order["filled"]) == (
            "SELL" if walk.is_long else "BUY", walk.product, walk.quantity, walk.quantity,
        )  # fmt: skip
        assert strategy.sl_trigger_price == walk.rupees(walk.breach)
    held = {p["symbol"]: p["quantity"] for p in control.positions(account.client_id)}
    assert all((held[walk.instrument.symbol] == 0) is hit for walk, hit in zip(walks, breached, strict=True))
