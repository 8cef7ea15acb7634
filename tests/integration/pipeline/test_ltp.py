"""The LTP cache on a real server: lifetime, round trips, and the server dead or frozen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from marketdata import ltp
from marketdata.clock import SystemClock
from marketdata.domain.prices import to_units
from marketdata.domain.sessions import Calendar
from marketdata.domain.ticks import Tick
from marketdata.ltp import LtpCache, LtpWriter
from marketdata.processor import TickProcessor
from marketdata.redis_client import TIMEOUT_S
from tests.support.stopwatch import Stopwatch, within
from tests.support.valkey import PrivateValkey
from tests.support.waiting import eventually_async


@pytest.fixture
async def server(valkey: PrivateValkey, settings: Settings) -> AsyncIterator[PrivateValkey]:
    """The settings' Redis is a server of the test's own."""
    settings.REDIS_URL = valkey.url
    yield valkey
    await ltp.close_cache()


def ticks(count: int, price: str = "1500.05") -> list[Tick]:
    now = time.time()
    return [Tick(f"NSE:S{n}", to_units(Decimal(price)), now, int(now)) for n in range(count)]


def calls(server: PrivateValkey, command: str) -> dict[str, Any]:
    with server.client() as client:
        found: dict[str, Any] = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
        return found


def reads_from_clients(server: PrivateValkey) -> int:
    """How often the server was woken by a client: its round trips, whatever they carried."""
    with server.client() as client:
        return int(client.info("stats")["total_reads_processed"])


async def test_a_price_comes_back_exactly(server: PrivateValkey) -> None:
    for price in ("1499.95", "83.1025", "0.05", "100000", "0.0000001"):
        assert await ltp.update_ltp_cache("NSE:INFY", Decimal(price))
        found = await ltp.get_cached_ltp("NSE:INFY")
        assert found == Decimal(price)
        assert isinstance(found, Decimal)


async def test_a_price_lives_thirty_seconds(server: PrivateValkey) -> None:
    began = time.time()
    await ltp.update_ltp_cache("NSE:INFY", Decimal(1500))
    with server.client() as client:
        assert began + 29 <= client.expiretime("ltp:NSE:INFY") <= time.time() + 31  # in whole seconds


async def test_an_expired_price_is_gone(server: PrivateValkey, settings: Settings) -> None:
    settings.LTP_TTL_S = 1
    await ltp.update_ltp_cache("NSE:INFY", Decimal(1500))
    assert await ltp.get_cached_ltp("NSE:INFY") == 1500
    await eventually_async(lambda: _is_gone("NSE:INFY"), timeout=3)


async def _is_gone(symbol: str) -> bool:
    return await ltp.get_cached_ltp(symbol) is None


@pytest.mark.parametrize("price", ["0", "-1"])
async def test_zero_and_below_never_reach_the_cache(server: PrivateValkey, price: str) -> None:
    await ltp.update_ltp_cache("NSE:INFY", Decimal(1500))
    assert not await ltp.update_ltp_cache("NSE:INFY", Decimal(price))
    assert await ltp.get_cached_ltp("NSE:INFY") == 1500


async def test_time_and_age_come_with_the_price(server: PrivateValkey) -> None:
    stamp, began = datetime.now(UTC).replace(microsecond=0), time.time()
    await ltp.update_ltp_cache("NSE:INFY", Decimal(1500), stamp)
    found = await ltp.get_cached_ltp_with_timestamp("NSE:INFY")
    assert found is not None
    assert found["ltp"] == 1500
    assert found["timestamp"] == stamp
    assert 0 <= found["age_s"] <= time.time() - began + 0.001  # kept in milliseconds
    assert found["is_stale"] is False


async def test_an_old_exchange_time_marks_a_price_stale_and_does_not_hide_it(server: PrivateValkey) -> None:
    old, began = datetime.now(UTC) - timedelta(hours=2), time.time()
    await ltp.update_ltp_cache("NSE:INFY", Decimal(1500), old)
    assert await ltp.get_cached_ltp("NSE:INFY") == 1500
    found = await ltp.get_cached_ltp_with_timestamp("NSE:INFY")
    assert found is not None
    assert found["age_s"] <= time.time() - began + 0.001  # kept in milliseconds
    assert found["is_stale"] is True


async def test_a_price_not_renewed_becomes_stale(valkey: PrivateValkey) -> None:
    cache = LtpCache(valkey.url, 30)
    found, now = {}, 0.0
    while time.time() - now > 0.9:  # asked again where the machine stood still between
        now = time.time()
        await cache.write([Tick("NSE:INFY", 1, now - 11), Tick("NSE:SBIN", 1, now - 9)])
        found = await cache.read(["NSE:INFY", "NSE:SBIN"])
    await cache.close()
    assert found["NSE:INFY"].is_stale
    assert not found["NSE:SBIN"].is_stale


async def test_many_are_written_and_read_in_one_round_trip_each(server: PrivateValkey) -> None:
    symbols = [f"NSE:S{n}" for n in range(200)]
    prices = {symbol: Decimal(n + 1) for n, symbol in enumerate(symbols)}
    await ltp.get_cached_ltp("NSE:WARM")  # the connection's own greetings
    before = reads_from_clients(server)
    assert await ltp.batch_update_ltp(prices)
    written = reads_from_clients(server)
    found = await ltp.get_all_cached_ltps(symbols)
    read = reads_from_clients(server)
    assert found == prices
    assert calls(server, "set")["calls"] == 200
    assert calls(server, "mget")["calls"] == 2
    # Each look of ours is a connection with its own few reads; 200 single calls would show as 200.
    assert written - before < 20
    assert read - written < 20


async def test_what_is_not_there_is_absent(server: PrivateValkey) -> None:
    await ltp.batch_update_ltp({"NSE:INFY": Decimal(1)})
    assert await ltp.get_all_cached_ltps(["NSE:INFY", "NSE:NONE"]) == {"NSE:INFY": Decimal(1)}
    assert await ltp.get_all_cached_ltps([]) == {}
    assert await ltp.get_cached_ltp_with_timestamp("NSE:NONE") is None


async def test_a_dead_server_gives_nothing_and_no_error(server: PrivateValkey) -> None:
    await ltp.update_ltp_cache("NSE:INFY", Decimal(1500))
    server.kill()
    assert await ltp.get_cached_ltp("NSE:INFY") is None
    assert await ltp.get_all_cached_ltps(["NSE:INFY"]) == {}
    assert not await ltp.update_ltp_cache("NSE:INFY", Decimal(1500))
    server.start()
    await eventually_async(lambda: ltp.update_ltp_cache("NSE:INFY", Decimal(1501)))
    assert await ltp.get_cached_ltp("NSE:INFY") == 1501


async def test_a_frozen_server_costs_a_second_and_no_error(server: PrivateValkey) -> None:
    await ltp.update_ltp_cache("NSE:INFY", Decimal(1500))
    server.freeze()
    with within(TIMEOUT_S + 1):
        assert await ltp.get_cached_ltp("NSE:INFY") is None
    server.thaw()
    await eventually_async(lambda: ltp.get_cached_ltp("NSE:INFY"))


async def test_without_a_server_everything_is_empty(settings: Settings) -> None:
    settings.REDIS_URL = ""
    assert not await ltp.update_ltp_cache("NSE:INFY", Decimal(1500))
    assert await ltp.get_cached_ltp("NSE:INFY") is None


class TestWriter:
    async def test_only_the_latest_of_each_symbol_is_written(self, server: PrivateValkey) -> None:
        writer = LtpWriter(ltp.cache())
        for price in range(1, 1001):
            writer.on_ticks(1, ticks(3, str(price)))
        await writer.flush()
        assert calls(server, "set")["calls"] == 3
        assert set((await ltp.get_all_cached_ltps(["NSE:S0", "NSE:S1", "NSE:S2"])).values()) == {
            Decimal(1000)
        }

    async def test_nothing_new_costs_nothing(self, server: PrivateValkey) -> None:
        writer = LtpWriter(ltp.cache())
        writer.on_ticks(1, ticks(3))
        await writer.flush()
        await writer.flush()
        assert calls(server, "set")["calls"] == 3

    async def test_what_a_dead_server_did_not_take_is_written_when_it_is_back(
        self, server: PrivateValkey
    ) -> None:
        writer = LtpWriter(ltp.cache())
        server.kill()
        writer.on_ticks(1, ticks(2, "1"))
        await writer.flush()
        writer.on_ticks(1, ticks(1, "2"))
        server.start()

        async def came_through() -> bool:
            await writer.flush()
            found = await ltp.get_all_cached_ltps(["NSE:S0", "NSE:S1"])
            return found == {"NSE:S0": Decimal(2), "NSE:S1": Decimal(1)}

        await eventually_async(came_through)


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
async def test_a_server_in_trouble_never_delays_a_stop_check(server: PrivateValkey, trouble: str) -> None:
    """While batches wait for it, ticks are taken as fast as before."""
    seen: list[Tick] = []

    class Monitor:
        def on_ticks(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> None:
            seen.extend(ticks)

        async def on_price_update(self, symbol: str, ltp: Decimal) -> None: ...

        def on_refused(self, *_: object) -> None: ...

    writer = LtpWriter(ltp.cache())
    processor = TickProcessor(
        monitor=Monitor(), outlets=[writer], calendar=Calendar(always=True), clock=SystemClock()
    )
    running = asyncio.create_task(writer.run())
    processor.accept(1, ticks(50))
    getattr(server, trouble)()
    delays: list[float] = []
    until = time.monotonic() + 1.5
    while time.monotonic() < until or len(delays) < 100:
        watch = Stopwatch()
        processor.accept(1, ticks(50))
        await asyncio.sleep(0.005)
        delays.append(watch.seconds() - 0.005)
    running.cancel()
    server.thaw() if trouble == "freeze" else None
    assert len(seen) >= 50 * 100
    assert max(delays) < 0.9  # a wait for the server would be a whole second
