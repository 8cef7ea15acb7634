"""What leaves the house, through a real channel layer and a real server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from marketdata.broadcast import PageBroadcast, user_group
from marketdata.domain.prices import to_units
from marketdata.domain.ticks import Tick
from marketdata.processor import NOBODY
from marketdata.publishing import RedisPublisher
from tests.support.stopwatch import Stopwatch, within
from tests.support.valkey import PrivateValkey
from tests.support.waiting import eventually_async


def tick(symbol: str = "NSE:INFY", price: str = "1499.95", at: float = 1_800_000_000.0) -> Tick:
    return Tick(symbol, to_units(Decimal(price)), at, int(at))


class Page:
    """One member of a user's group."""

    def __init__(self, layer: Any, channel: str) -> None:
        self._layer, self._channel = layer, channel

    @classmethod
    async def of(cls, layer: Any, user_id: int) -> Page:
        channel = await layer.new_channel()
        await layer.group_add(user_group(user_id), channel)
        return cls(layer, channel)

    async def next(self, timeout: float = 3) -> dict[str, Any]:
        async with asyncio.timeout(timeout):
            message: dict[str, Any] = await self._layer.receive(self._channel)
            return message

    async def is_silent(self) -> bool:
        with suppress(TimeoutError):
            await self.next(0.05)
            return False
        return True


@asynccontextmanager
async def running(*parts: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(part.run()) for part in parts]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def layer() -> InMemoryChannelLayer:
    return InMemoryChannelLayer()


async def test_the_latest_price_of_each_symbol_goes_out_once(layer: InMemoryChannelLayer) -> None:
    page, pages = await Page.of(layer, 1), PageBroadcast("w", layer=layer)
    pages.on_ticks(1, [tick(price="1"), tick(price="2"), tick("NSE:SBIN", "83.1025")])
    await pages.flush()
    frame = await page.next()
    assert frame["type"] == "live.prices"
    assert frame["source"] == "w"
    assert frame["prices"] == [
        ["NSE:INFY", "2.00", 1_800_000_000_000],
        ["NSE:SBIN", "83.1025", 1_800_000_000_000],
    ]
    await pages.flush()
    assert await page.is_silent()


async def test_a_user_gets_nothing_of_anothers(layer: InMemoryChannelLayer) -> None:
    mine, theirs = await Page.of(layer, 1), await Page.of(layer, 2)
    pages = PageBroadcast("w", layer=layer)
    pages.on_ticks(1, [tick()])
    pages.on_ticks(NOBODY, [tick("NSE:SBIN")])
    pages.send(1, "exit", {"id": 5})
    await pages.flush()
    assert [(await mine.next())["type"] for _ in range(2)] == ["live.message", "live.prices"]
    assert await mine.is_silent()
    assert await theirs.is_silent()


async def test_news_and_prices_share_one_count_for_each_user(layer: InMemoryChannelLayer) -> None:
    page, pages = await Page.of(layer, 1), PageBroadcast("w", layer=layer)
    pages.send(2, "alert", {})
    for n in range(3):
        pages.send(1, "exit", {"id": n})
        pages.on_ticks(1, [tick()])
        await pages.flush()
    frames = [await page.next() for _ in range(6)]
    assert [frame["n"] for frame in frames] == [1, 2, 3, 4, 5, 6]
    assert [frame["body"]["id"] for frame in frames if frame["type"] == "live.message"] == [0, 1, 2]


async def test_news_from_another_thread_arrive_in_order(layer: InMemoryChannelLayer) -> None:
    page, pages = await Page.of(layer, 1), PageBroadcast("w", layer=layer)

    def tell() -> None:
        for n in range(50):
            pages.send(1, "exit", {"id": n})

    async with running(pages):
        thread = threading.Thread(target=tell)
        thread.start()
        frames = [await page.next() for _ in range(50)]
        thread.join()
    assert [frame["body"]["id"] for frame in frames] == list(range(50))
    assert [frame["n"] for frame in frames] == list(range(1, 51))


async def test_pages_hear_a_heartbeat_each_second(layer: InMemoryChannelLayer) -> None:
    page, pages = await Page.of(layer, 1), PageBroadcast("w", layer=layer)
    pages.set_users([1])
    watch = Stopwatch()
    async with running(pages):
        first = await page.next()
        second = await page.next()
    assert first["kind"] == second["kind"] == "heartbeat"
    assert 900 <= second["body"]["at"] - first["body"]["at"] <= 2000 + watch.queued() * 1000


async def test_at_most_five_price_frames_a_second(layer: InMemoryChannelLayer) -> None:
    page, pages = await Page.of(layer, 1), PageBroadcast("w", layer=layer)
    frames: list[Any] = []
    async with running(pages):
        began = time.monotonic()
        while len(frames) < 5:
            pages.on_ticks(1, [tick()])
            with suppress(TimeoutError):
                frames.append(await page.next(0.01))
    assert time.monotonic() - began >= 4 * 0.2


async def test_what_was_lost_shows_as_a_gap_when_the_server_is_back(valkey: PrivateValkey) -> None:
    layer = RedisPubSubChannelLayer(hosts=[valkey.url])
    page, pages = await Page.of(layer, 1), PageBroadcast("w", layer=layer)
    pages.send(1, "exit", {"id": 1})
    await pages.flush()
    assert (await page.next())["n"] == 1
    valkey.kill()
    pages.send(1, "exit", {"id": 2})
    await pages.flush()
    valkey.start()

    async def heard() -> dict[str, Any] | None:
        pages.send(1, "heartbeat", {})
        await pages.flush()
        with suppress(TimeoutError):
            return await page.next(0.2)
        return None

    frame = await eventually_async(heard, timeout=10)
    assert frame["n"] > 2
    await layer.flush()


async def test_a_frozen_server_holds_nobody_up(valkey: PrivateValkey) -> None:
    layer = RedisPubSubChannelLayer(hosts=[valkey.url])
    pages = PageBroadcast("w", layer=layer)
    pages.send(1, "exit", {})
    await pages.flush()
    valkey.freeze()
    for n in range(5000):
        pages.send(1, "exit", {"id": n})
    with within(3):
        await pages.flush()
    valkey.thaw()
    await layer.flush()


class TestPublications:
    async def test_the_latest_price_is_published_for_other_programs(self, valkey: PrivateValkey) -> None:
        publisher = RedisPublisher(valkey.url)
        with valkey.client() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
            listener.subscribe("prices:NSE:INFY")
            listener.get_message(timeout=2)
            publisher.on_ticks(1, [tick(price="1"), tick(price="1499.95")])
            await publisher.flush()
            heard = await eventually_async(lambda: listener.get_message(timeout=0.1))
            assert json.loads(heard["data"]) == {
                "type": "PRICE_UPDATE",
                "symbol": "NSE:INFY",
                "ltp": "1499.95",
                "timestamp": "2027-01-15T08:00:00+00:00",
            }
            assert listener.get_message(timeout=0.1) is None
        await publisher.close()

    async def test_at_most_ten_a_second_for_each_symbol(self, valkey: PrivateValkey) -> None:
        publisher = RedisPublisher(valkey.url)
        async with running(publisher):
            began = time.monotonic()
            while time.monotonic() < began + 1:
                publisher.on_ticks(1, [tick()])
                await asyncio.sleep(0.002)
            took = time.monotonic() - began
        with valkey.client() as client:
            assert 1 <= client.info("commandstats")["cmdstat_publish"]["calls"] <= 1 + took * 10
        await publisher.close()

    async def test_a_message_survives_a_restart_of_the_server(self, valkey: PrivateValkey) -> None:
        publisher = RedisPublisher(valkey.url)
        valkey.kill()
        for n in range(3):
            publisher.publish("strategies:1", {"type": "SL_TRIGGERED", "strategy_id": n})
        await publisher.flush()
        valkey.start()
        with valkey.client() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
            listener.subscribe("strategies:1")
            listener.get_message(timeout=2)
            await publisher.flush()
            heard = [await eventually_async(lambda: listener.get_message(timeout=0.1)) for _ in range(3)]
        assert [json.loads(message["data"])["strategy_id"] for message in heard] == [0, 1, 2]
        await publisher.close()

    async def test_messages_do_not_pile_up(self, valkey: PrivateValkey) -> None:
        publisher = RedisPublisher(valkey.url)
        valkey.kill()
        for n in range(1500):
            publisher.publish("strategies:1", {"n": n})
        await publisher.flush()
        publisher.publish("strategies:1", {"n": 1500})
        valkey.start()
        await publisher.flush()
        with valkey.client() as client:
            assert client.info("commandstats")["cmdstat_publish"]["calls"] == 1000
        await publisher.close()


class Swallowing:
    """A channel layer whose client takes a cancellation for the end of its work."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.is_asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def test_a_cancellation_that_the_layer_swallows_ends_it_all_the_same() -> None:
    layer = Swallowing()
    pages = PageBroadcast("worker", layer=layer)
    running = asyncio.create_task(pages.run())
    pages.send(1, "exit", {})
    await asyncio.wait_for(layer.is_asked.wait(), 20)
    running.cancel()
    await asyncio.wait([running], timeout=20)
    assert running.cancelled()
