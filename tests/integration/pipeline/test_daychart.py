"""The day's prices for charts, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from marketdata.daychart import DayChart, read_day
from marketdata.domain.prices import to_units
from marketdata.domain.ticks import Tick
from tests.support.live import ManualClock
from tests.support.valkey import PrivateValkey

MORNING = 1_800_000_000.0  # 13:30 IST on a Friday
LATE = MORNING + 10.4 * 3600  # 23:54 IST


@pytest.fixture
async def chart(valkey: PrivateValkey) -> AsyncIterator[tuple[DayChart, ManualClock]]:
    clock = ManualClock(MORNING)
    made = DayChart(valkey.url, clock)
    yield made, clock
    await made.close()


def tick(symbol: str, price: str) -> Tick:
    return Tick(symbol, to_units(Decimal(price)), MORNING, None)


async def test_the_latest_price_of_each_ten_seconds_is_kept_and_an_unchanged_one_adds_nothing(
    chart: tuple[DayChart, ManualClock], valkey: PrivateValkey
) -> None:
    writer, clock = chart
    for price in ("1500.00", "1499.95"):
        writer.take([tick("NSE:INFY", price), tick("NSE:NIFTY 50", "26000.10")])
    await writer.write()
    clock.now += 10
    writer.take([tick("NSE:INFY", "1499.95")])
    await writer.write()
    clock.now += 10
    writer.take([tick("NSE:INFY", "1501.05")])
    await writer.write()

    assert await read_day(valkey.url, "NSE:INFY", clock.now) == [
        (int(MORNING), "1499.95"),
        (int(MORNING) + 20, "1501.05"),
    ]
    assert await read_day(valkey.url, "NSE:NIFTY 50", clock.now) == [(int(MORNING), "26000.10")]
    assert await read_day(valkey.url, "NSE:SBIN", clock.now) == []


async def test_each_day_begins_anew_and_goes_by_itself(
    chart: tuple[DayChart, ManualClock], valkey: PrivateValkey
) -> None:
    writer, clock = chart
    clock.now = LATE
    writer.take([tick("NSE:INFY", "1500.00")])
    await writer.write()
    with valkey.client() as client:
        [key] = client.keys("day:*")
        assert 0 < client.ttl(key) <= 24 * 3600
    clock.now += 3600
    writer.take([tick("NSE:INFY", "1500.00")])  # the same price, another day
    await writer.write()
    assert await read_day(valkey.url, "NSE:INFY", clock.now) == [(int(clock.now), "1500.00")]


async def test_without_redis_nothing_is_lost_but_the_chart(valkey: PrivateValkey) -> None:
    writer = DayChart("", ManualClock(MORNING))
    writer.take([tick("NSE:INFY", "1500.00")])
    await writer.write()
    await writer.close()
    assert await read_day("", "NSE:INFY", MORNING) == []

    down = DayChart(valkey.url, ManualClock(MORNING))
    valkey.kill()
    down.take([tick("NSE:INFY", "1500.00")])
    await down.write()
    await down.close()
    assert await read_day(valkey.url, "NSE:INFY", MORNING) == []
