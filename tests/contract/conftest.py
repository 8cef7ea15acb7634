"""Each registered broker, met through its adapter, against the real simulator in its own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count

import pytest
from pytest_django import Settings

from marketdata.brokers import registry
from marketdata.domain.feed import ListenerState
from marketdata.domain.orders import OrderSnapshot
from marketdata.domain.prices import to_rupees
from marketdata.domain.ticks import Tick
from marketdata.instruments import InstrumentBook
from marketdata.listener import MarketDataListener
from marketdata.ports import BrokerAdapter, BrokerConfig, OrderGateway
from marketdata.secret import Secret
from marketdata.simulator.control import SimulatorControl
from tests.contract.ordering import Bench
from tests.support.simulator import RunningSimulator, start_simulator

_numbers = count(1)


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    with start_simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture(params=registry.BROKERS)
def broker(request: pytest.FixtureRequest, running: RunningSimulator, settings: Settings) -> str:
    """A broker's name; for the test, its endpoints are the simulator's."""
    name = str(request.param)
    endpoints = registry.endpoints(name)
    roots = {role: running.env[endpoint.variable] for role, endpoint in endpoints.items()}
    settings.BROKER_ENDPOINTS = {**settings.BROKER_ENDPOINTS, name: roots}
    return name


@pytest.fixture
def adapter(broker: str) -> BrokerAdapter:
    return registry.adapter(broker)


@pytest.fixture
def control(running: RunningSimulator) -> Iterator[SimulatorControl]:
    yield running.control
    running.control.clear_faults()
    running.control.enforce_limits(on=False)


@pytest.fixture
def config(broker: str, control: SimulatorControl) -> BrokerConfig:
    """An account of the test's own."""
    number = next(_numbers)
    made = control.create_account(f"CT{number:04d}")
    secret, token = Secret(made["api_secret"]), Secret(made["access_token"])
    return BrokerConfig(number, broker, f"CT{number:04d}", made["api_key"], secret, token)


_books: dict[str, InstrumentBook] = {}


@pytest.fixture
def book(broker: str, adapter: BrokerAdapter) -> InstrumentBook:
    """The broker's list of the day, downloaded once."""
    if broker not in _books:
        lines = adapter.instruments.download(None).splitlines(keepends=True)
        rows = (
            (c.exchange, c.tradingsymbol, c.token, c.tick_size, c.lot_size, c.freeze_quantity)
            for c in adapter.instruments.contracts(lines)
        )
        _books[broker] = InstrumentBook.of(broker, rows)
    return _books[broker]


@pytest.fixture
def gateway(adapter: BrokerAdapter, config: BrokerConfig, book: InstrumentBook) -> OrderGateway:
    return adapter.gateway(config, book)


@pytest.fixture
def bench(gateway: OrderGateway, control: SimulatorControl, config: BrokerConfig) -> Bench:
    return Bench(gateway, control, config.client_id)


@dataclass
class Feed:
    """A listener and everything it said."""

    listener: MarketDataListener
    ticks: list[Tick]
    orders: list[OrderSnapshot]
    connects: list[None]
    disconnects: list[Exception | None]
    errors: list[Exception]

    def price(self, symbol: str) -> Decimal | None:
        """Return the latest price of a symbol in rupees."""
        return next((to_rupees(tick.price) for tick in reversed(self.ticks) if tick.symbol == symbol), None)

    @property
    def state(self) -> ListenerState:
        return self.listener.health_check().state


def heard(listener: MarketDataListener) -> Feed:
    feed = Feed(listener, [], [], [], [], [])
    listener.register_callback("on_ticks", feed.ticks.extend)
    listener.register_callback("on_order_update", feed.orders.append)
    listener.register_callback("on_connect", lambda: feed.connects.append(None))
    listener.register_callback("on_disconnect", feed.disconnects.append)
    listener.register_callback("on_error", feed.errors.append)
    return feed


@pytest.fixture
async def feed(adapter: BrokerAdapter, config: BrokerConfig, book: InstrumentBook) -> AsyncIterator[Feed]:
    """A listener of the account, not yet connected."""
    listener = adapter.listener_class(1, config, tokens=book)
    # As in life, but quicker to lose patience.
    listener.options = replace(listener.options, silence_s=2.5, close_timeout_s=0.2)  # type: ignore[misc]
    yield heard(listener)
    await listener.disconnect()
