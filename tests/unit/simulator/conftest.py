from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal

import pytest

from marketdata.domain.orders import Side
from marketdata.domain.prices import to_units
from marketdata.simulator.accounts import Accounts
from marketdata.simulator.exchange import Exchange, Print
from marketdata.simulator.orders import Kind, Order, Status, Ticket
from marketdata.simulator.universe import Listing, universe

DAY = date(2026, 11, 23)
NOON = 1_795_415_400.0  # 2026-11-23 12:00 IST, a Monday


class ManualClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Recorder:
    """Observes an exchange."""

    def __init__(self) -> None:
        self.prints: list[Print] = []
        self.news: list[tuple[str, Status, int]] = []

    def on_print(self, trade: Print) -> None:
        self.prints.append(trade)

    def on_order(self, order: Order) -> None:
        self.news.append((order.order_id, order.status, order.filled))


def rupees(text: str) -> int:
    return to_units(Decimal(text))


def ticket(side: Side = Side.SELL, quantity: int = 10, **changes: object) -> Ticket:
    values: dict[str, object] = {
        "symbol": "NSE:INFY", "side": side, "quantity": quantity, "product": "MIS", "kind": Kind.MARKET,
        "protection": Decimal("0.5"), "tag": "T1",
    }  # fmt: skip
    return Ticket(**(values | changes))  # type: ignore[arg-type]  # a test's own shorthand


LISTINGS = universe(DAY)


@pytest.fixture
def listings() -> list[Listing]:
    return LISTINGS


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def exchange(clock: ManualClock) -> Exchange:
    accounts = Accounts(seed=1)
    accounts.create("AB1234")
    return Exchange(LISTINGS, accounts, clock)


@pytest.fixture
def recorder(exchange: Exchange) -> Recorder:
    recorder = Recorder()
    exchange.observe(recorder)
    return recorder
