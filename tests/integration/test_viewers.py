"""Many viewers of one page: a real Daphne, a real Valkey, and prices on the shipped way out."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.contrib.auth.models import User
from django.utils import timezone
from websockets.asyncio.client import connect

from marketdata.broadcast import PageBroadcast
from marketdata.domain.ticks import Tick
from marketdata.ltp import price_text
from marketdata.models import BrokerAccount, Instrument
from strategies.models import Strategy
from tests.benchmarks.viewers import Viewer, frozen, symbols, until, viewers
from tests.support.live import join, session_cookie
from tests.support.page import Web
from tests.support.valkey import PrivateValkey

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = symbols(40)


@pytest.fixture
def web(valkey: PrivateValkey) -> Iterator[Web]:
    server = Web(valkey)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def pages(valkey: PrivateValkey) -> AsyncIterator[PageBroadcast]:
    layer = RedisPubSubChannelLayer(hosts=[valkey.url], prefix="tickguard")
    yield PageBroadcast("worker", layer=layer)
    await layer.flush()


@pytest.fixture
def headers(user: User, web: Web) -> dict[str, str]:
    return {"Cookie": session_cookie(user), "Origin": web.root}


async def frames(pages: PageBroadcast, user: User, count: int) -> dict[str, str]:
    """Send that many frames as fast as they go; return the true last prices as the page writes them."""
    drawn = random.Random(7)
    truth: dict[str, str] = {}
    now = timezone.now().timestamp()
    for n in range(count):
        ticks = [Tick(symbol, (n + 1) * 500_000, now) for symbol in drawn.sample(NAMES, 20)]
        pages.on_ticks(user.pk, ticks)
        await pages.flush()
        truth.update({tick.symbol: price_text(tick.price) for tick in ticks})
    return truth


async def begun(pages: PageBroadcast, user: User, watching: list[Viewer]) -> None:
    """Wait until every viewer is told prices."""
    while not all(viewer.deliveries for viewer in watching):
        await frames(pages, user, 1)
        await asyncio.sleep(0.1)


@pytest.mark.timeout(180)  # Daphne starts slowly on a busy machine
async def test_all_viewers_share_a_frame_and_end_on_true_last_prices_whoever_is_frozen(
    user: User, web: Web, headers: dict[str, str], pages: PageBroadcast
) -> None:
    url = f"ws://127.0.0.1:{web.port}/ws/live/"
    async with viewers(url, 6, headers, is_deep=True) as watching:
        with frozen(web.port, "/ws/live/", headers):
            await begun(pages, user, watching)
            for viewer in watching:
                viewer.forget()
            truth = await frames(pages, user, 300)
            assert await until(lambda: all(viewer.prices == truth for viewer in watching), 20)
            assert all(viewer.deliveries < 300 for viewer in watching), "the latest value wins"

            pages.on_ticks(user.pk, [Tick(NAMES[0], 999_000_000, timezone.now().timestamp())])
            await pages.flush()
            assert await until(lambda: all('"99.90"' in viewer.last for viewer in watching), 20)
    texts = {viewer.last.partition('"at":')[2] for viewer in watching}
    assert len(texts) == 1, "one encoding for all: only the number in front is each viewer's own"


@pytest.mark.timeout(180)
async def test_a_snapshot_larger_than_a_message_may_be_comes_in_parts_and_is_whole(
    user: User,
    account: BrokerAccount,
    instruments: Mapping[str, Instrument],
    web: Web,
    headers: dict[str, str],
) -> None:
    many = [
        Strategy(
            user=user, account=account, instrument=instruments["NSE:INFY"], name=f"Strategy {n}", status="active",
            position="BOUGHT", quantity=10, entry_price=Decimal(1500), stop_loss=Decimal(1490), epoch=1,
        )
        for n in range(3_000)
    ]  # fmt: skip
    rows = await sync_to_async(Strategy.objects.bulk_create)(many)
    url = f"ws://127.0.0.1:{web.port}/ws/live/"
    async with connect(url, additional_headers=headers) as page:  # it takes a megabyte, as Daphne gives one
        texts = [str(await page.recv())]
        whole = json.loads(texts[0])
        assert whole["type"] == "snapshot"
        while whole["more"]:
            texts.append(str(await page.recv()))
            whole = join(whole, json.loads(texts[-1]))

    assert sum(map(len, texts)) > 1_048_576 > 3 * max(map(len, texts))
    assert [row["id"] for row in whole["strategies"]] == [row.pk for row in rows]
    assert whole["score"]["text"] == "0 of 3000 stops armed and watched"
