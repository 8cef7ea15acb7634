"""One row of the instrument list that is no good: the others are watched all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from decimal import Decimal

import pytest

from marketdata.clock import SystemClock
from marketdata.domain.gate import ACCEPTED, Decision
from marketdata.domain.orders import OrderSnapshot
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.feeds import AccountFeed
from marketdata.instruments import InstrumentBook
from marketdata.ports import BrokerAdapter, BrokerConfig
from marketdata.simulator.control import SimulatorControl
from marketdata.wanted import WantedFeed
from tests.contract.feeding import INFY, SBIN, carried
from tests.support.waiting import eventually_async

BAD = ("n/a", "", "-5", "٤٠٨", "99999999999999999999", "NSE_EQ:", f"NSE_EQ:{10**20}")


class Told:
    """What the feed says, and nobody who judges."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.ticks: list[Tick] = []

    def accept(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> list[tuple[Tick, Decision]]:
        self.ticks += ticks
        return [(tick, ACCEPTED) for tick in ticks]

    async def judge_by_quotes(
        self, user_id: int, account_id: int, symbols: Collection[str] | None = None, *, is_gap: bool = True
    ) -> Mapping[str, int]:
        return {INFY: 1, SBIN: 1}

    def on_order_update(self, account_id: int, order: OrderSnapshot) -> None:
        """Nobody asks."""

    def on_feed_event(self, feed: WantedFeed, kind: str, detail: str) -> None:
        self.events.append((kind, detail))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(params=BAD)
def bad(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def account_feed(
    config: BrokerConfig, book: InstrumentBook, told: Told, bad: str
) -> AsyncIterator[AccountFeed]:
    modes = dict.fromkeys((SBIN, INFY), FeedMode.FULL)
    wanted = WantedFeed(1, config, 0, modes, {INFY: book.token(INFY), SBIN: bad})
    feed = AccountFeed(wanted, told, told, SystemClock())
    yield feed
    await feed.stop()


async def test_the_others_are_carried_and_the_bad_one_is_told(
    account_feed: AccountFeed, config: BrokerConfig, control: SimulatorControl, told: Told, bad: str
) -> None:
    await carried(control, config, INFY)
    control.set_price(INFY, "1501.35")
    await eventually_async(lambda: INFY in {tick.symbol for tick in told.ticks})
    assert account_feed.report().health.is_connected
    text = account_feed.report().trouble
    assert text.startswith(f"{SBIN} cannot be subscribed: token {bad!r}: expected")
    assert text.endswith("import the instrument list again")
    assert [event for event in told.events if event[0] == "left_out"] == [("left_out", text)]


class Poisoned:
    """The broker's list with one bad token."""

    def __init__(self, book: InstrumentBook, bad: str) -> None:
        self._book = book
        self._bad = bad

    def token(self, symbol: str) -> str:
        return self._bad if symbol == SBIN else self._book.token(symbol)

    def symbol(self, token: str) -> str | None:
        return self._book.symbol(token)

    def tick_size(self, symbol: str) -> Decimal | None:
        return self._book.tick_size(symbol)

    def listed(self, symbols: Collection[str]) -> Collection[str]:
        return self.tokens_of(symbols).keys()

    def tokens_of(self, symbols: Collection[str]) -> Mapping[str, str]:
        return {symbol: self.token(symbol) for symbol in symbols}

    def symbols_of(self, tokens: Collection[str]) -> Mapping[str, str]:
        return self._book.symbols_of(tokens)


def test_the_others_are_quoted(
    adapter: BrokerAdapter, config: BrokerConfig, book: InstrumentBook, bad: str
) -> None:
    quotes = adapter.gateway(config, Poisoned(book, bad)).quotes([SBIN, INFY])
    assert INFY in quotes
