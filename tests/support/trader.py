"""A trader's account at a broker of the real simulator, and the exit engine at work for it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User

from marketdata.brokers import registry
from marketdata.clock import SystemClock
from marketdata.domain.instruments import Contract
from marketdata.domain.orders import OrderLimits
from marketdata.domain.sessions import Calendar
from marketdata.lookup import DatabaseTokens
from marketdata.models import BrokerAccount, Instrument
from marketdata.ports import BrokerConfig, OrderGateway
from marketdata.simulator.control import SimulatorControl
from strategies.accounts import AccountDesks
from strategies.engine import ExitEngine
from strategies.journal import Journal
from strategies.models import Exit, Strategy
from strategies.protection import protection
from strategies.services import start_strategy
from strategies.switches import why_not_trade
from tests.support.exits import Told, make, tick
from tests.support.processes import Process
from tests.support.simulator import RunningSimulator
from tests.support.waiting import eventually_async

INFY = "NSE:INFY"
Listeners = Callable[[], Process]
"""Starts ``run_listeners``, a process of its own."""
AT_ZERODHA = pytest.mark.parametrize("trader", ["zerodha"], indirect=True)
AT_DHAN = pytest.mark.parametrize("trader", ["dhan"], indirect=True)
"""Where brokers make no difference one of them is enough."""

_numbers = count(1)
_lists: dict[str, dict[str, Contract]] = {}


def contracts(broker: str) -> Mapping[str, Contract]:
    """Return the simulator's instrument list of a broker by symbol, as its adapter reads it; once a process."""
    if broker not in _lists:
        port = registry.adapter(broker).instruments
        lines = port.download(None).splitlines(keepends=True)
        _lists[broker] = {contract.symbol: contract for contract in port.contracts(lines)}
    return _lists[broker]


def forget_lists() -> None:
    """Read the lists anew: the next simulator may list other instruments."""
    _lists.clear()


def endpoints(simulator: RunningSimulator) -> dict[str, dict[str, str]]:
    """Return what ``BROKER_ENDPOINTS`` is to be, to reach the simulator."""
    return {
        broker: {role: simulator.env[e.variable] for role, e in registry.endpoints(broker).items()}
        for broker in registry.BROKERS
    }


@dataclass(slots=True)
class Trader:
    """One account, its positions and its strategies. Everything about it is in the database and the simulator."""

    broker: str
    control: SimulatorControl
    account: BrokerAccount
    told: Told = field(default_factory=Told)

    @classmethod
    def join(cls, broker: str, control: SimulatorControl, user: User | None = None) -> Trader:
        """Open an account of its own. Blocks."""
        client_id = f"TR{next(_numbers):04d}"
        made = control.create_account(client_id)
        user = user or get_user_model().objects.create_user(client_id)
        credentials = {name: made[name] for name in ("api_key", "api_secret", "access_token")}
        account = BrokerAccount.objects.create(
            user=user, broker=broker, name=client_id, client_id=client_id, **credentials
        )
        return cls(broker, control, account)

    @property
    def client_id(self) -> str:
        return self.account.client_id

    # --- what it holds ------------------------------------------------------------------

    def listed(self, *symbols: str) -> list[Instrument]:
        """Put instruments of the broker's list into the table. Blocks."""
        names = (
            "token",
            "name",
            "instrument_type",
            "expiry",
            "strike",
            "lot_size",
            "tick_size",
            "freeze_quantity",
        )
        rows = []
        for symbol in symbols:
            found = contracts(self.broker)[symbol]
            values = {name: getattr(found, name) for name in names}
            key = {"broker": self.broker, "exchange": found.exchange, "tradingsymbol": found.tradingsymbol}
            rows.append(Instrument.objects.get_or_create(**key, defaults=values)[0])
        return rows

    def arm(
        self,
        symbol: str = INFY,
        *,
        quantity: int = 100,
        held: int | None = None,
        stop: str = "1500",
        **fields: Any,
    ) -> Strategy:
        """Give the account a position (``held``; None: the quantity) and arm a stop on it. Blocks."""
        [instrument] = self.listed(symbol)
        product = fields.get("product", "MIS")
        self.hold(quantity if held is None else held, symbol, product)
        strategy = make(self.account, instrument, quantity=quantity, stop_loss=Decimal(stop), **fields)
        return start_strategy(strategy)

    def hold(self, quantity: int, symbol: str = INFY, product: str = "MIS") -> None:
        self.control.set_position(self.client_id, symbol, product, quantity)

    def held(self, symbol: str = INFY, product: str = "MIS") -> int:
        rows = self.control.positions(self.client_id)
        return sum(row["quantity"] for row in rows if (row["symbol"], row["product"]) == (symbol, product))

    # --- what happens -------------------------------------------------------------------

    def fault(self, name: str, **options: Any) -> None:
        self.control.fault(name, account=self.client_id, **options)

    def sent(self) -> list[dict[str, Any]]:
        """Return what the broker booked with a tag of ours, oldest first."""
        return [row for row in self.control.ledger(self.client_id) if row["tag"]]

    def places(self) -> int:
        """Return how many place requests the broker has received, refused ones too."""
        requests = self.control.order_requests(self.client_id)["requests"]
        return sum(request["operation"] == "place" for request in requests)

    def has_turned(self) -> bool:
        """Tell whether any position of a long trader ever went below zero."""
        return any(row["lowest"] < 0 for row in self.control.position_extremes(self.client_id))

    def told_of(self, *words: str) -> str:
        """Return the first text told that has all these words; empty: none yet."""
        return next((t for t in self.told.alerts() if all(w in t for w in words)), "")

    @asynccontextmanager
    async def running(
        self, *, limits: OrderLimits | None = None, **options: Any
    ) -> AsyncIterator[ExitEngine]:
        """Run an engine on the real gateways of every account there is."""
        async with engine(self.told, limits=limits, **options) as started:
            yield started

    def breach(self, engine: ExitEngine, symbol: str = INFY, price: str = "1499.00") -> None:
        """Let the engine see a price, as its feed would."""
        engine.monitor.on_ticks(self.account.user_id, [tick(price, symbol)])

    async def ended(self, state: str = "done", timeout: float = 30, count: int = 1) -> Sequence[Exit]:
        """Wait until that many exits of the account are in a state."""

        async def look() -> list[Exit]:
            exits = Exit.objects.filter(strategy__account=self.account)
            others = Counter(
                [row async for row in exits.exclude(state=state).values_list("state", "concern")]
            )
            found = exits.filter(state=state).select_related("strategy")
            assert await found.acount() == count, f"not {state}: {others.most_common(5)}"
            return [row async for row in found]

        return await eventually_async(look, timeout)

    def why_unprotected(self) -> list[str]:
        """Return why stops of the user are not protected now, one reason each."""
        found = protection(self.account.user_id, datetime.now(UTC), Calendar(always=True))
        return [row.reason for row in found.unprotected]

    async def asked(self, *words: str, timeout: float = 20) -> Exit:
        """Wait until a person is asked about the newest exit, with these words."""

        async def look() -> Exit:
            row = await Exit.objects.filter(strategy__account=self.account).order_by("-id").afirst()
            assert row is not None, "no exit has begun"
            assert row.state == "needs_human", row.state
            assert all(word in row.concern for word in words), row.concern
            return row

        return await eventually_async(look, timeout)


@asynccontextmanager
async def engine(
    told: Told, *, limits: OrderLimits | None = None, **options: Any
) -> AsyncIterator[ExitEngine]:
    """Run an engine for every account in the database, on their brokers' own wires."""
    clock = SystemClock()
    journal = Journal(told, clock, random.SystemRandom(), why_not_trade)
    desks = AccountDesks(_gateway, clock, limits=_limits(limits))
    started = ExitEngine(journal, desks, clock, **options)
    await started.start()
    try:
        yield started
    finally:
        await started.stop()


def _gateway(config: BrokerConfig) -> OrderGateway:
    return registry.adapter(config.broker).gateway(config, DatabaseTokens(config.broker))


def _limits(given: OrderLimits | None) -> Callable[[str], OrderLimits]:
    return lambda broker: given or registry.adapter(broker).order_limits
