"""More instruments than one connection carries, against a simulator that holds to the broker's limits."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from marketdata.brokers import registry
from marketdata.clock import SystemClock
from marketdata.domain.gate import ACCEPTED, Decision
from marketdata.domain.orders import OrderSnapshot
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.feeds import AccountFeed
from marketdata.instruments import InstrumentBook
from marketdata.ports import BrokerAdapter, BrokerConfig
from marketdata.secret import Secret
from marketdata.simulator.control import SimulatorControl
from marketdata.wanted import WantedFeed
from tests.contract.feeding import INFY, carried
from tests.support.simulator import start_simulator
from tests.support.trader import endpoints
from tests.support.waiting import eventually_async

FULL, LTP = FeedMode.FULL, FeedMode.LTP
EACH = 4
"""Instruments of one connection, in the tests with small ones."""


class Told:
    """What the feed says, and nobody who judges."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.seen: set[str] = set()
        self.orders: list[OrderSnapshot] = []

    def accept(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> list[tuple[Tick, Decision]]:
        self.seen.update(tick.symbol for tick in ticks)
        return [(tick, ACCEPTED) for tick in ticks]

    async def judge_by_quotes(self, *_: Any, **__: Any) -> Any:
        return {}

    def on_order_update(self, account_id: int, order: OrderSnapshot) -> None:
        self.orders.append(order)

    def on_feed_event(self, feed: WantedFeed, kind: str, detail: str) -> None:
        self.events.append((kind, detail))


def wanted(config: BrokerConfig, book: InstrumentBook, modes: Mapping[str, FeedMode]) -> WantedFeed:
    return WantedFeed(1, config, 0, modes, {symbol: book.token(symbol) for symbol in modes})


@asynccontextmanager
async def running(feed: WantedFeed, told: Told) -> AsyncIterator[AccountFeed]:
    started = AccountFeed(feed, told, told, SystemClock())
    try:
        yield started
    finally:
        await started.stop()


@pytest.fixture
def shares(book: InstrumentBook) -> list[str]:
    return sorted(name for name in book.symbols if name.startswith("NSE:") and name[4:].isalpha())


@pytest.fixture
def small(
    adapter: BrokerAdapter, broker: str, control: SimulatorControl, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    """Have a connection carry four instruments, here and at the broker's; return how many an account has."""
    name = f"{broker}.instruments"
    before = control.variants()[name]
    control.set_variant(name, EACH)
    monkeypatch.setattr(adapter, "instruments_per_connection", EACH)
    yield adapter.connections
    control.set_variant(name, before)


def connected(control: SimulatorControl, config: BrokerConfig, count: int) -> Callable[[], bool]:
    return lambda: control.connections().get(config.client_id, 0) == count


async def test_instruments_fill_the_connections_there_are_and_armed_ones_are_never_left_out(
    config: BrokerConfig, book: InstrumentBook, control: SimulatorControl, shares: list[str], small: int
) -> None:
    room = EACH * small
    watched, armed = shares[:room], shares[-2:]
    told, modes = Told(), {**dict.fromkeys(watched, LTP), **dict.fromkeys(armed, FULL)}
    async with running(wanted(config, book, modes), told) as feed:
        inside = [*armed, *watched[:-2]]
        shown = await carried(control, config, *inside)
        assert all(shown[symbol] == "full" for symbol in armed)
        assert connected(control, config, small)()
        await eventually_async(lambda: told.seen == set(inside))
        [text] = [detail for kind, detail in told.events if kind == "limited"]
        assert text.startswith(
            f"{config.broker} carries {room} instruments ({small} connections of {EACH}): 2"
        )
        assert watched[-1] in text
        report = feed.report()
        assert report.health.is_connected
        assert report.health.subscription_count == room
        assert report.trouble == text
        # One more is armed: somebody who is only watched makes room.
        feed.want(wanted(config, book, {**modes, shares[-3]: FULL}))
        await carried(control, config, shares[-3], *armed, *watched[:-3])


async def test_room_is_given_back_and_an_empty_connection_is_closed(
    config: BrokerConfig, book: InstrumentBook, control: SimulatorControl, shares: list[str], small: int
) -> None:
    first, second = shares[:EACH], shares[EACH : 2 * EACH]
    modes = dict.fromkeys([*first, *second], FULL)
    told = Told()
    async with running(wanted(config, book, modes), told) as feed:
        await carried(control, config, *modes)
        assert connected(control, config, 2)()
        accepted = control.counters()["handshakes.accepted"]
        feed.want(wanted(config, book, dict.fromkeys([*first[1:], *second], FULL)))
        await carried(control, config, *first[1:], *second)
        feed.want(wanted(config, book, dict.fromkeys([*first[1:], *second, shares[-1]], FULL)))
        await carried(control, config, *first[1:], *second, shares[-1])
        assert connected(control, config, 2)()
        assert control.counters()["handshakes.accepted"] == accepted  # nothing was moved
        feed.want(wanted(config, book, dict.fromkeys(first[1:], FULL)))
        await carried(control, config, *first[1:])
        await eventually_async(connected(control, config, 1))
        assert feed.report().health.is_connected


async def test_an_order_is_told_once(
    config: BrokerConfig, book: InstrumentBook, control: SimulatorControl, shares: list[str], small: int
) -> None:
    told = Told()
    async with running(wanted(config, book, dict.fromkeys(shares[: EACH + 1], FULL)), told) as feed:
        await carried(control, config, *shares[: EACH + 1])
        await eventually_async(lambda: feed.report().health.is_connected)
        if config.broker == "dhan":  # whose order updates have a socket of their own
            await eventually_async(lambda: control.connections("order_feed").get(config.client_id) == 1)
        control.place_order(config.client_id, INFY, "BUY", 1, "MIS")
        await eventually_async(lambda: told.orders and told.orders[-1].filled_quantity == 1)
        assert len({(order.status, order.filled_quantity) for order in told.orders}) == len(told.orders)


async def test_one_connection_of_several_that_drops_is_made_again(
    config: BrokerConfig, book: InstrumentBook, control: SimulatorControl, shares: list[str], small: int
) -> None:
    symbols = shares[: EACH + 1]
    told = Told()
    async with running(wanted(config, book, dict.fromkeys(symbols, FULL)), told) as feed:
        await carried(control, config, *symbols)
        await eventually_async(lambda: feed.report().health.is_connected)
        control.drop(config.client_id)
        await eventually_async(lambda: "disconnected" in [kind for kind, _ in told.events])
        await eventually_async(lambda: feed.report().health.is_connected, 20)
        await carried(control, config, *symbols)
        kinds = [kind for kind, _ in told.events if kind in ("connected", "disconnected")]
        assert kinds == ["connected", "disconnected", "connected"]


@pytest.mark.parametrize("broker", ["zerodha"], indirect=True)
async def test_a_fourth_kite_connection_is_refused_and_that_is_no_dead_login(
    config: BrokerConfig, adapter: BrokerAdapter, book: InstrumentBook, control: SimulatorControl
) -> None:
    listeners = [adapter.listener_class(1, config, tokens=book) for _ in range(adapter.connections + 1)]
    try:
        for listener in listeners:
            await listener.subscribe([INFY])
            await listener.connect()
        assert [listener.is_connected for listener in listeners] == [True, True, True, False]
        health = listeners[-1].health_check()
        assert health.state == "connecting"
        assert "429" in health.last_error
        await listeners[0].disconnect()  # and there is room again
        await eventually_async(lambda: listeners[-1].is_connected, 20)
    finally:
        for listener in listeners:
            await listener.disconnect()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("broker", "count", "connections"), [("zerodha", 9_003, 3), ("dhan", 5_003, 2)])
async def test_at_the_brokers_own_size(
    broker: str, count: int, connections: int, tmp_path: Path, settings: Settings
) -> None:
    with start_simulator(tmp_path, instruments=12_000) as simulator:
        settings.BROKER_ENDPOINTS = {**settings.BROKER_ENDPOINTS, **endpoints(simulator)}
        adapter, control, told = registry.adapter(broker), simulator.control, Told()
        made = control.create_account("BIG001")
        config = BrokerConfig(1, broker, "BIG001", made["api_key"], access_token=Secret(made["access_token"]))
        lines = adapter.instruments.download(config).splitlines(keepends=True)
        contracts = list(adapter.instruments.contracts(lines))
        # The first ones of Dhan's list are not dealt in.
        tokens = {contract.symbol: contract.token for contract in contracts[-count:]}
        armed = sorted(tokens)[-3:]
        modes = {symbol: FULL if symbol in armed else LTP for symbol in tokens}
        most = min(count, adapter.instruments_per_connection * adapter.connections)
        began = time.monotonic()
        async with running(WantedFeed(1, config, 0, modes, tokens), told) as feed:
            await eventually_async(lambda: len(control.subscriptions("BIG001")) == most, 120)
            await eventually_async(lambda: len(told.seen) == most, 120)
            took = time.monotonic() - began
            assert control.connections()["BIG001"] == connections
            assert set(armed) <= told.seen
            assert feed.report().health.subscription_count == most
            print(f"\n{broker}: {most:,} instruments on {connections} connections after {took:.1f} s")  # noqa: T201
            assert [kind for kind, _ in told.events if kind == "limited"] == ["limited"] * (count > most)
