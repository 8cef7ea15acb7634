"""Today's prices of each instrument, one for each ten seconds, in Redis for the charts of pages.

One text for each symbol and day, ``day:YYYYMMDD:EXCHANGE:TRADINGSYMBOL``, that only grows: ``34210:1499.95;`` is the
price at that second of the day in IST. A price that has not changed adds nothing, so a busy day takes 30 kB.
Nothing here is waited for; without Redis charts begin when a page is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from marketdata.domain.sessions import IST
from marketdata.domain.ticks import Tick
from marketdata.ltp import price_text
from marketdata.redis_client import ERRORS, Outage, connect

EVERY_S = 10.0
KEPT_S = 24 * 3600
CHUNK = 100
"""Symbols written before the loop gets a turn."""

Point = tuple[int, str]
"""UNIX seconds and the price as text."""


class DayChart:
    """Writes it. ``take`` gets batches that are on their way to the LTP cache, so no tick passes here."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self._redis: Redis | None = connect(url) if url else None
        self._clock = clock or SystemClock()
        self._outage = Outage("the day's chart")
        self._latest: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._day = ""

    def take(self, ticks: Iterable[Tick]) -> None:
        """Note the latest prices."""
        for tick in ticks:
            self._latest[tick.symbol] = tick.price

    async def run(self) -> None:
        """Write every ten seconds until cancelled."""
        while True:
            await self._clock.sleep(EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write the prices that have changed since they were last written."""
        now = self._clock.time()
        if (day := _day(now)) != self._day:  # another day, other keys
            self._day, self._written = day, {}
        waiting, self._latest = self._latest, {}
        changed = [(name, price) for name, price in waiting.items() if self._written.get(name) != price]
        for start in range(0, len(changed), CHUNK):
            if not await self._append(dict(changed[start : start + CHUNK]), now):
                return

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()

    async def _append(self, prices: Mapping[str, int], now: float) -> bool:
        if self._redis is None:
            return False
        pipeline = self._redis.pipeline(transaction=False)
        for symbol, price in prices.items():
            pipeline.append(_key(self._day, symbol), f"{_second(now)}:{price_text(price)};")
            if symbol not in self._written:
                pipeline.expire(_key(self._day, symbol), KEPT_S)
        try:
            await pipeline.execute()
        except ERRORS as exc:
            self._outage.failed(exc)
            return False
        self._outage.worked()
        self._written.update(prices)
        return True


async def read_day(url: str, symbol: str, now: float) -> list[Point]:
    """Return a symbol's prices of the day so far, oldest first; none without Redis."""
    if not url:
        return []
    client = connect(url)
    try:
        text = await client.get(_key(_day(now), symbol))
    except ERRORS:
        return []
    finally:
        await client.aclose()
    return list(_points(str(text or ""), now))


def _points(text: str, now: float) -> Iterator[Point]:
    """Two workers may carry a symbol: of two prices at one moment the later one counts, and time never goes back."""
    midnight = _midnight(now)
    found = {
        int(second): price for second, _, price in (part.partition(":") for part in text.split(";") if part)
    }
    return ((midnight + second, found[second]) for second in sorted(found))


def _key(day: str, symbol: str) -> str:
    return f"day:{day}:{symbol}"


def _day(now: float) -> str:
    return f"{datetime.fromtimestamp(now, UTC).astimezone(IST):%Y%m%d}"


def _midnight(now: float) -> int:
    local = datetime.fromtimestamp(now, UTC).astimezone(IST)
    return int((local - timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)).timestamp())


def _second(now: float) -> int:
    return int(now) - _midnight(now)
