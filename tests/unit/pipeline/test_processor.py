"""Order, isolation and figures of the tick pipeline."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from marketdata.domain.gate import ACCEPTED, NO_PRICE, STALE, Decision
from marketdata.domain.prices import to_units
from marketdata.domain.sessions import Calendar
from marketdata.domain.ticks import Tick
from marketdata.processor import NOBODY, TickProcessor, get_tick_processor, set_tick_processor
from tests.fakes.clock import HandClock

USER = 7


class Recorder:
    """A sink that keeps what it is given, and fails on the symbols it was told to."""

    def __init__(self, log: list[str], name: str, poison: str = "") -> None:
        self.taken: list[tuple[int, Tick]] = []
        self.asked: list[tuple[str, Decimal]] = []
        self.refused: list[tuple[int, Tick, Decision]] = []
        self.flushed = 0
        self._log, self._name, self._poison = log, name, poison

    def on_ticks(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> None:
        self._log.append(self._name)
        for tick in ticks:
            if tick.symbol == self._poison:
                raise RuntimeError("poisoned")
        self.taken += [(user_id, tick) for tick in ticks]

    async def on_price_update(self, symbol: str, ltp: Decimal) -> None:
        self.asked.append((symbol, ltp))

    def on_refused(self, user_id: int, refused: Sequence[tuple[Tick, Decision]], feed: int = 0) -> None:
        self.refused += [(user_id, tick, decision) for tick, decision in refused]

    async def flush(self) -> None:
        self.flushed += 1

    @property
    def symbols(self) -> list[str]:
        return [tick.symbol for _, tick in self.taken]


class House:
    def __init__(self, *, poison: str = "", outlet_poison: str = "") -> None:
        self.clock = HandClock()
        self.log: list[str] = []
        self.monitor = Recorder(self.log, "monitor", poison)
        self.cache = Recorder(self.log, "cache", outlet_poison)
        self.pages = Recorder(self.log, "pages")
        self.processor = TickProcessor(
            monitor=self.monitor,
            outlets=[self.cache, self.pages],
            calendar=Calendar(always=True),
            clock=self.clock,
        )

    def tick(self, symbol: str = "NSE:INFY", price: str = "1500", age: int = 0) -> Tick:
        now = self.clock.time()
        return Tick(symbol, to_units(Decimal(price)), now, int(now) - age)


@pytest.fixture
def house() -> House:
    return House()


def test_the_stop_check_comes_first(house: House) -> None:
    house.processor.accept(USER, [house.tick()])
    assert house.log == ["monitor", "cache", "pages"]


def test_ticks_keep_their_order_and_their_owner(house: House) -> None:
    ticks = [house.tick(symbol, price) for symbol, price in [("A:X", "1"), ("A:Y", "2"), ("A:X", "3")]]
    house.processor.accept(USER, ticks)
    assert house.monitor.taken == [(USER, tick) for tick in ticks]


def test_taking_ticks_awaits_nothing() -> None:
    assert not inspect.iscoroutinefunction(TickProcessor.accept)


def test_the_monitor_sees_actionable_ticks_only(house: House) -> None:
    fresh, stale, zero = house.tick(), house.tick("NSE:SBIN", age=60), house.tick("NSE:TCS", price="0")
    judged = house.processor.accept(USER, [fresh, stale, zero])
    assert judged == [(fresh, ACCEPTED), (stale, STALE), (zero, NO_PRICE)]
    assert house.monitor.symbols == ["NSE:INFY"]
    assert house.monitor.refused == [(USER, stale, STALE), (USER, zero, NO_PRICE)]
    assert house.cache.symbols == house.pages.symbols == ["NSE:INFY", "NSE:SBIN"]
    assert house.processor.get_stats()["refused"] == {"stale": 1, "no_price": 1}


def test_one_bad_tick_costs_nothing_but_itself() -> None:
    house = House(poison="A:BAD")
    house.processor.accept(USER, [house.tick("A:X"), house.tick("A:BAD"), house.tick("A:Y")])
    assert house.monitor.symbols == ["A:X", "A:Y"]
    assert house.cache.symbols == ["A:X", "A:BAD", "A:Y"]
    assert house.processor.get_stats()["error_count"] == 2  # the batch, then the tick alone


def test_a_tick_of_the_wrong_shape_is_counted_and_passed_by(house: House) -> None:
    malformed = Tick(None, 1, house.clock.time())  # type: ignore[arg-type]
    judged = house.processor.accept(USER, [malformed, house.tick()])
    assert [tick.symbol for tick, _ in judged] == ["NSE:INFY"]
    assert house.monitor.symbols == ["NSE:INFY"]
    assert house.processor.get_stats()["error_count"] == 1


def test_a_failing_outlet_costs_neither_the_stops_nor_the_others() -> None:
    house = House(outlet_poison="NSE:INFY")
    house.processor.accept(USER, [house.tick()])
    assert house.monitor.symbols == house.pages.symbols == ["NSE:INFY"]


def test_errors_are_logged_once_a_second(house: House, caplog: pytest.LogCaptureFixture) -> None:
    broken = House(poison="NSE:INFY")
    for _ in range(50):
        broken.processor.accept(USER, [broken.tick()])
    assert len(caplog.records) == 1
    broken.clock.advance(1)
    broken.processor.accept(USER, [broken.tick()])
    assert len(caplog.records) == 2
    assert broken.processor.get_stats()["error_count"] == 51


def test_the_figures_add_up(house: House) -> None:
    for _ in range(3):
        house.processor.accept(USER, [house.tick("A:X"), house.tick("A:Y", price="0")])
        house.clock.advance(1)
    stats = house.processor.get_stats()
    assert stats["total_ticks"] == 6
    assert stats["symbols_tracked"] == 1
    assert stats["error_rate"] == 0.0
    assert stats["ticks_per_second"] == pytest.approx(6 / 5)
    assert set(stats) >= {"avg_processing_time_ms", "p99_processing_time_ms", "error_count"}


def test_slow_ticks_are_timed_and_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    class Slow(Recorder):
        def on_ticks(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> None:
            house.clock.advance(0.15)

    processor = TickProcessor(monitor=Slow([], ""), calendar=Calendar(always=True), clock=house.clock)
    with caplog.at_level(logging.WARNING):
        processor.accept(USER, [house.tick()])
    assert "took 150 ms" in caplog.text
    assert processor.get_stats()["p99_processing_time_ms"] == pytest.approx(150)
    assert processor.get_stats()["avg_processing_time_ms"] == pytest.approx(150)


def test_a_fast_tick_is_not_called_slow(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.processor.accept(USER, [house.tick()])
    assert not caplog.records


class TestFromOutside:
    async def test_a_price_reaches_every_users_stops_and_the_cache(self, house: House) -> None:
        await house.processor.process_tick("NSE:INFY", Decimal("1499.95"))
        assert house.monitor.asked == [("NSE:INFY", Decimal("1499.95"))]
        assert house.cache.taken[0][0] == NOBODY
        assert house.cache.taken[0][1].price == 14_999_500_000
        assert house.cache.flushed == house.pages.flushed == 1

    async def test_a_price_of_one_user_reaches_that_user(self, house: House) -> None:
        await house.processor.process_tick("NSE:INFY", Decimal(1500), user_id=USER)
        assert [user for user, _ in house.monitor.taken] == [USER]
        assert house.monitor.asked == []

    async def test_an_old_timestamp_is_shown_and_triggers_nothing(self, house: House) -> None:
        old = datetime.fromtimestamp(house.clock.time() - 60, UTC)
        await house.processor.process_tick("NSE:INFY", Decimal(1500), old)
        assert house.monitor.asked == []
        assert house.cache.symbols == ["NSE:INFY"]

    async def test_zero_is_refused_and_counted(self, house: House) -> None:
        await house.processor.process_tick("NSE:INFY", Decimal(0))
        assert house.monitor.asked == []
        assert house.cache.symbols == []
        assert house.processor.get_stats()["refused"] == {"no_price": 1}

    @pytest.mark.parametrize(
        ("ltp", "timestamp", "error", "text"),
        [
            (1499.95, None, TypeError, "is a float: pass a Decimal"),
            (Decimal("NaN"), None, ValueError, "not a finite number"),
            (Decimal("Infinity"), None, ValueError, "not a finite number"),
            (Decimal("0.00000001"), None, ValueError, "finer than"),
            (Decimal(1), datetime(2026, 11, 23), ValueError, "no timezone"),  # noqa: DTZ001
        ],
    )
    async def test_what_is_no_price_is_named(
        self, house: House, ltp: Decimal, timestamp: datetime | None, error: type[Exception], text: str
    ) -> None:
        with pytest.raises(error, match=text):
            await house.processor.process_tick("NSE:INFY", ltp, timestamp)

    async def test_a_batch_goes_on_after_a_malformed_one(self, house: House) -> None:
        batch: list[dict[str, Any]] = [
            {"symbol": "A:X", "ltp": Decimal(1)},
            {"symbol": "A:X"},
            {"symbol": "A:X", "ltp": 2.0},
            {"symbol": "A:Y", "ltp": Decimal(3)},
        ]
        assert await house.processor.process_batch(batch) == 2
        assert house.cache.symbols == ["A:X", "A:Y"]
        assert house.cache.flushed == 1
        assert house.processor.get_stats()["error_count"] == 2

    async def test_a_failing_stop_check_is_counted(self, house: House) -> None:
        async def fail(symbol: str, ltp: Decimal) -> None:
            raise RuntimeError

        house.monitor.on_price_update = fail  # type: ignore[method-assign]
        await house.processor.process_tick("NSE:INFY", Decimal(1500))
        assert house.processor.get_stats()["error_count"] == 1
        assert house.cache.symbols == ["NSE:INFY"]

    async def test_symbols_side_by_side_keep_each_its_order(self, house: House) -> None:
        async def play(symbol: str) -> None:
            for price in range(1, 21):
                await house.processor.process_tick(symbol, Decimal(price))

        await asyncio.gather(play("A:X"), play("A:Y"))
        for symbol in ("A:X", "A:Y"):
            prices = [ltp for name, ltp in house.monitor.asked if name == symbol]
            assert prices == [Decimal(price) for price in range(1, 21)]


def test_the_accessor_gives_what_was_built() -> None:
    try:
        built = TickProcessor()
        set_tick_processor(built)
        assert get_tick_processor() is built
        set_tick_processor(None)
        assert get_tick_processor() is get_tick_processor()
        assert get_tick_processor() is not built
    finally:
        set_tick_processor(None)
