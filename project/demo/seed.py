"""The demo's user, account and strategies: the same after every start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from django.contrib.auth.models import User

from marketdata.brokers import registry
from marketdata.domain.prices import round_down, round_up
from marketdata.models import Broker, BrokerAccount, Instrument, Subscription
from strategies.models import Strategy
from strategies.services import start_strategy, update_stop

USERNAME = "demo"
WATCHED = ("NSE:NIFTY 50", "NSE:HDFCBANK", "NSE:TCS", "NSE:ICICIBANK")
LONG, SHORT = Strategy.Position.BOUGHT, Strategy.Position.SOLD


class Market(Protocol):
    """What the seed asks of the simulated exchange."""

    def price(self, symbol: str) -> Decimal: ...

    def set_position(self, symbol: str, product: str, quantity: int, average: Decimal) -> None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """One strategy of the demo. ``symbol`` may be the name of an underlying: its nearest future."""

    name: str
    symbol: str
    position: Strategy.Position
    product: Strategy.Product
    lots: int
    stop_distance_percent: Decimal


# The plans of the first broker's account; those of the others come after them.
FALLING = Plan("Infosys, stop close by", "NSE:INFY", LONG, Strategy.Product.MIS, 50, Decimal("0.8"))
PLANS = (
    FALLING,
    Plan("Reliance, delivery", "NSE:RELIANCE", LONG, Strategy.Product.CNC, 20, Decimal(5)),
    Plan("State Bank, short", "NSE:SBIN", SHORT, Strategy.Product.MIS, 100, Decimal(4)),
    Plan("Nifty future, short", "NIFTY", SHORT, Strategy.Product.NRML, 2, Decimal(3)),
    Plan("Gold future, long", "GOLDM", LONG, Strategy.Product.NRML, 1, Decimal(4)),
)
OTHER_PLANS = (
    Plan("Tata Steel, delivery", "NSE:TATASTEEL", LONG, Strategy.Product.CNC, 150, Decimal(5)),
    Plan("Bank Nifty future, long", "BANKNIFTY", LONG, Strategy.Product.NRML, 1, Decimal(3)),
)


def user(password: str) -> User:
    """Return the demo's user, who may log in with ``password`` and see the admin."""
    person, _ = User.objects.get_or_create(username=USERNAME)
    person.is_staff = person.is_superuser = person.is_active = True
    if not person.check_password(password):  # a new hash would end the sessions of before
        person.set_password(password)
    person.save()
    return person


def account(owner: User, broker: str) -> BrokerAccount:
    """Return the demo's account, with the credentials that every simulator knows."""
    known = credentials(broker)
    row, _ = BrokerAccount.objects.update_or_create(
        user=owner,
        broker=broker,
        client_id=known.pop("client_id"),
        # A login of an earlier run is over: its simulator is gone, and its expiry says nothing.
        defaults={"name": f"Simulated {Broker(broker).label}", "token_expires_at": None, **known},
    )
    return row


def credentials(broker: str) -> dict[str, str]:
    """Return what an account row holds of the demo login; a PIN, say, is only typed at the broker."""
    demo = registry.surface(broker).DEMO
    return {name: demo[name] for name in ("client_id", "api_key", "api_secret", "access_token")}


def plans(broker: str) -> Iterable[Plan]:
    """Return what a broker's account shows."""
    return PLANS if broker == registry.BROKERS[0] else OTHER_PLANS


def strategies(row: BrokerAccount, market: Market) -> list[Strategy]:
    """Arm every plan whose instrument is listed, and give the account the positions they protect."""
    found = [(plan, instrument(row.broker, plan.symbol)) for plan in plans(row.broker)]
    return [_arm(row, plan, contract, market) for plan, contract in found if contract]


def watch(row: BrokerAccount) -> None:
    """Put a few instruments on the demo user's watch list."""
    listed = [contract for symbol in WATCHED if (contract := instrument(row.broker, symbol))]
    for contract in listed:
        Subscription.objects.get_or_create(account=row, instrument=contract, holder=f"watch:{row.user_id}")


def instrument(broker: str, symbol: str) -> Instrument | None:
    """Return the instrument of that symbol, or the nearest future of that underlying."""
    listed = Instrument.objects.filter(broker=broker)
    if ":" not in symbol:
        return listed.filter(name=symbol, instrument_type=Instrument.Type.FUT).order_by("expiry").first()
    exchange, _, tradingsymbol = symbol.partition(":")
    return listed.filter(exchange=exchange, tradingsymbol=tradingsymbol).first()


def _arm(row: BrokerAccount, plan: Plan, contract: Instrument, market: Market) -> Strategy:
    price = market.price(contract.symbol)
    quantity = plan.lots * contract.lot_size
    market.set_position(
        contract.symbol, plan.product, quantity if plan.position == LONG else -quantity, price
    )
    stop = _stop(plan, price, contract.tick_size)
    known = Strategy.objects.filter(account=row, name=plan.name, instrument=contract)
    strategy = known.exclude(status=Strategy.Status.EXITING).first()
    if strategy and strategy.status == Strategy.Status.ACTIVE:
        return update_stop(strategy, stop, by=row.user)
    strategy = strategy or Strategy(user=row.user, account=row, name=plan.name, instrument=contract)
    strategy.position, strategy.product, strategy.quantity = plan.position, plan.product, quantity
    strategy.entry_price, strategy.stop_loss = price, stop
    strategy.save()
    return start_strategy(strategy, by=row.user)


def _stop(plan: Plan, price: Decimal, tick_size: Decimal) -> Decimal:
    distance = price * plan.stop_distance_percent / 100
    if plan.position == LONG:
        return round_down(price - distance, tick_size)
    return round_up(price + distance, tick_size)
