"""The last traded price of every watched instrument, in Redis for whoever asks.

One key for each symbol, ``ltp:EXCHANGE:TRADINGSYMBOL``, with a lifetime: an instrument whose
feed is gone disappears by itself. The value is JSON: the price in rupees as text, the
exchange's time and the time of receipt in UNIX seconds (``{"ltp", "timestamp", "at"}``).

A price ages by its receipt. An old exchange time never hides it, but marks it stale. With
Redis down or hung, reads find nothing within a second and writes are dropped; neither raises.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.asyncio import Redis

from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from marketdata.domain.gate import TICK_MAX_AGE
from marketdata.domain.prices import to_rupees, to_units
from marketdata.domain.ticks import Tick
from marketdata.redis_client import ERRORS, Outage, connect, set_all

FLUSH_S = 0.2
CHUNK = 100
"""Keys written before the loop gets a turn."""


@dataclass(frozen=True, slots=True)
class CachedPrice:
    """A price as it was found.

    Attributes:
        ltp: Rupees.
        timestamp: The exchange's time (UTC); None when the packet had none.
        age_s: Seconds since receipt.
        is_stale: Received, or stamped by the exchange, longer ago than a price may be to trigger.

    """

    ltp: Decimal
    timestamp: datetime | None
    age_s: float
    is_stale: bool


@lru_cache(maxsize=8192)
def price_text(units: int) -> str:
    """Return a price in units as rupees in text, exact, with at least two decimals."""
    return str(to_rupees(units))


def encode(tick: Tick) -> str:
    """Return the value of a key."""
    stamp = "null" if tick.exchange_time is None else tick.exchange_time
    return f'{{"ltp":"{price_text(tick.price)}","timestamp":{stamp},"at":{tick.received_at:.3f}}}'


def decode(value: str | bytes, now: float) -> CachedPrice:
    """Return what a value says at UNIX time ``now``."""
    found = json.loads(value)
    stamp = found["timestamp"]
    age_s = max(0.0, now - found["at"])
    oldest = age_s if stamp is None else max(age_s, now - stamp)
    timestamp = None if stamp is None else datetime.fromtimestamp(stamp, UTC)
    return CachedPrice(Decimal(found["ltp"]), timestamp, age_s, oldest > TICK_MAX_AGE)


class LtpCache:
    """The keys in Redis. Belongs to the event loop it is used in; without a URL it is always empty."""

    def __init__(self, url: str, ttl_s: int, clock: Clock | None = None) -> None:
        self._redis: Redis | None = connect(url) if url else None
        self._ttl_s = ttl_s
        self._clock = clock or SystemClock()
        self._outage = Outage("the LTP cache")

    async def write(self, ticks: Iterable[Tick]) -> bool:
        """Write prices in one round trip; False when Redis did not take them."""
        if self._redis is None:
            return False
        try:
            await set_all(self._redis, {f"ltp:{tick.symbol}": encode(tick) for tick in ticks}, self._ttl_s)
        except ERRORS as exc:
            self._outage.failed(exc)
            return False
        self._outage.worked()
        return True

    async def read(self, symbols: Iterable[str]) -> dict[str, CachedPrice]:
        """Return the prices there are, by symbol, in one round trip."""
        names = list(dict.fromkeys(symbols))
        if self._redis is None or not names:
            return {}
        try:
            values = await self._redis.mget([f"ltp:{name}" for name in names])
        except ERRORS as exc:
            self._outage.failed(exc)
            return {}
        now = self._clock.time()
        found = {name: decode(value, now) for name, value in zip(names, values, strict=True) if value}
        # Redis drops keys by its own clock; a frozen one may hand out what should be gone.
        return {name: price for name, price in found.items() if price.age_s <= self._ttl_s}

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()


class LtpWriter:
    """Carries the latest prices to the cache, batch by batch, never more than one under way.

    While a batch is on its way new prices replace those waiting, so a slow Redis costs
    freshness, not memory.
    """

    def __init__(
        self,
        cache: LtpCache | None = None,
        clock: Clock | None = None,
        also: Callable[[Sequence[Tick]], None] = lambda _: None,
    ) -> None:
        self._cache = cache
        self._clock = clock or SystemClock()
        self._also = also  # whoever else wants the batches, Redis or not; returns at once
        self._waiting: dict[str, Tick] = {}
        self._under_way = asyncio.Lock()

    def on_ticks(self, user_id: int, ticks: Iterable[Tick], feed: int = 0) -> None:
        """Mark prices to be written."""
        waiting = self._waiting
        for tick in ticks:
            waiting[tick.symbol] = tick

    async def flush(self) -> None:
        """Write what is waiting. What Redis did not take waits on, unless a newer price came."""
        async with self._under_way:
            batch, self._waiting = list(self._waiting.values()), {}
            self._also(batch)
            for start in range(0, len(batch), CHUNK):
                if not await (self._cache or cache()).write(batch[start : start + CHUNK]):
                    left = {tick.symbol: tick for tick in batch[start:]}
                    self._waiting = {**left, **self._waiting}
                    return

    async def run(self) -> None:
        """Flush five times a second until cancelled."""
        while True:
            await self._clock.sleep(FLUSH_S)
            await self.flush()


# --- For everybody else -----------------------------------------------------------------

_caches: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, int], LtpCache]] = WeakKeyDictionary()


def cache() -> LtpCache:
    """Return the running loop's cache, as the settings describe it."""
    mine = _caches.setdefault(asyncio.get_running_loop(), {})
    key = (settings.REDIS_URL, settings.LTP_TTL_S)
    if key not in mine:
        mine[key] = LtpCache(*key)
    return mine[key]


async def close_cache() -> None:
    """Close the running loop's connections."""
    for mine in _caches.pop(asyncio.get_running_loop(), {}).values():
        await mine.close()


async def update_ltp_cache(symbol: str, ltp: Decimal, timestamp: datetime | None = None) -> bool:
    """Store a price that was received now; False when it was refused or Redis is away.

    Args:
        symbol: Canonical ``EXCHANGE:TRADINGSYMBOL``.
        ltp: Rupees; zero and below are nobody's price and are refused.
        timestamp: The exchange's, timezone-aware.

    """
    return await _store({symbol: ltp}, timestamp)


async def batch_update_ltp(prices: Mapping[str, Decimal]) -> bool:
    """Store prices that were received now, by symbol, in one round trip; as ``update_ltp_cache``."""
    return await _store(prices, None)


async def get_cached_ltp(symbol: str) -> Decimal | None:
    """Return the price received within the last ``LTP_TTL_S`` seconds, or None."""
    return (await get_all_cached_ltps([symbol])).get(symbol)


async def get_cached_ltp_with_timestamp(symbol: str) -> dict[str, Any] | None:
    """Return ``{"ltp", "timestamp", "age_s", "is_stale"}`` (see ``CachedPrice``), or None."""
    price = (await get_cached_prices([symbol])).get(symbol)
    if price is None:
        return None
    return {
        "ltp": price.ltp,
        "timestamp": price.timestamp,
        "age_s": price.age_s,
        "is_stale": price.is_stale,
    }


async def get_all_cached_ltps(symbols: Iterable[str]) -> dict[str, Decimal]:
    """Return prices by symbol in one round trip; symbols without one are absent."""
    return {symbol: price.ltp for symbol, price in (await get_cached_prices(symbols)).items()}


async def get_cached_prices(symbols: Iterable[str]) -> dict[str, CachedPrice]:
    """As ``get_all_cached_ltps``, with time and age."""
    return await cache().read(symbols)


async def _store(prices: Mapping[str, Decimal], timestamp: datetime | None) -> bool:
    now = SystemClock().time()
    stamp = None if timestamp is None else int(timestamp.timestamp())
    ticks = [Tick(symbol, to_units(ltp), now, stamp) for symbol, ltp in prices.items() if ltp > 0]
    if not ticks:
        return False
    return await cache().write(ticks)
