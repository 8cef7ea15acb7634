"""Who holds what in the soak: two users, an account at each broker, their instruments and their stops."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.contrib.auth.models import User

from marketdata.brokers import registry
from marketdata.domain.prices import round_down, round_up
from marketdata.models import BrokerAccount, Instrument, Subscription
from marketdata.simulator.control import SimulatorControl
from strategies.models import Strategy
from strategies.services import start_strategy
from tests.soak.schedule import Day

SHARES = {"zerodha": Decimal("0.667"), "dhan": Decimal("0.333")}
"""How the instruments are spread."""
STOP_AWAY = Decimal("0.04")
"""A walk alone strays some tenths of a per cent: only a scripted price reaches a stop."""
BEYOND = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Held:
    """A strategy with the position it protects."""

    strategy: Strategy
    account: BrokerAccount
    symbol: str
    is_long: bool
    tick: Decimal

    @property
    def stop(self) -> Decimal:
        assert self.strategy.stop_loss is not None
        return self.strategy.stop_loss

    @property
    def beyond(self) -> Decimal:
        """A price that touches the stop for certain."""
        factor = 1 - BEYOND if self.is_long else 1 + BEYOND
        return round_down(self.stop * factor, self.tick)


def accounts() -> list[BrokerAccount]:
    """Make a user and an account for each broker, with the credentials the simulator knows."""
    return [_account(broker) for broker in registry.BROKERS]


def _account(broker: str) -> BrokerAccount:
    demo = registry.surface(broker).DEMO
    stored = {name: demo[name] for name in ("client_id", "api_key", "api_secret", "access_token")}
    owner = User.objects.create_user(f"soak-{broker}")
    return BrokerAccount.objects.create(user=owner, broker=broker, desired_state="running", **stored)


def fill(rows: Sequence[BrokerAccount], control: SimulatorControl, day: Day) -> list[Held]:
    """Arm the strategies, and watch as many instruments as wanted, all of them different."""
    rng = random.Random(day.seed)
    taken: set[str] = set()
    held: list[Held] = []
    for account in rows:
        armable = [row for row in _listed(account, taken) if row.instrument_type in ("EQ", "FUT")]
        armed = rng.sample(armable, day.strategies // len(rows))
        held += [_arm(account, row, control, is_long=rng.random() < 0.7) for row in armed]
        taken |= {row.symbol for row in armed}
    for account in rows:
        number = int(day.instruments * SHARES[account.broker]) - day.strategies // len(rows)
        watched = _listed(account, taken)[:number]
        Subscription.objects.bulk_create(
            Subscription(account=account, instrument=row, holder=f"watch:{account.user_id}")
            for row in watched
        )
        taken |= {row.symbol for row in watched}
    return held


def _listed(account: BrokerAccount, taken: Collection[str]) -> list[Instrument]:
    """Return what both brokers list: a list also names what its exchange does not trade."""
    rows = Instrument.objects.exclude(instrument_type="INDEX").order_by("pk")
    everywhere = {row.symbol for row in rows if row.broker != account.broker} - set(taken)
    return [row for row in rows if row.broker == account.broker and row.symbol in everywhere]


def _arm(account: BrokerAccount, row: Instrument, control: SimulatorControl, *, is_long: bool) -> Held:
    price = Decimal(control.instrument(row.symbol)["last"])
    product = "MIS" if row.instrument_type == "EQ" else "NRML"
    control.set_position(account.client_id, row.symbol, product, row.lot_size * (1 if is_long else -1))
    stop = (
        round_down(price * (1 - STOP_AWAY), row.tick_size)
        if is_long
        else round_up(price * (1 + STOP_AWAY), row.tick_size)
    )
    strategy = Strategy.objects.create(
        user=account.user, account=account, instrument=row, product=product, quantity=row.lot_size,
        position="BOUGHT" if is_long else "SOLD", stop_loss=stop,
    )  # fmt: skip
    return Held(start_strategy(strategy), account, row.symbol, is_long, row.tick_size)
