from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from marketdata.models import BrokerAccount, Instrument, Subscription
from strategies import services
from strategies.live.consumers import LiveConsumer
from strategies.live.room import ROWS_ONE_BY_ONE
from strategies.models import Strategy
from tests.support.live import LivePage, ManualClock, send_news, send_prices, session_cookie
from tests.support.people import new_user
from tests.support.stopwatch import Stopwatch

pytestmark = pytest.mark.django_db(transaction=True)
Instruments = Mapping[str, Instrument]


@pytest.fixture
def cookie(user: User) -> str:
    return session_cookie(user)


@pytest.fixture
def other(user: User) -> User:
    return new_user("other", password="another-password-for-tests")


@pytest.fixture
def strategy(user: User, account: BrokerAccount, instruments: Instruments) -> Strategy:
    return Strategy.objects.create(
        user=user, account=account, instrument=instruments["NSE:INFY"], name="Infosys", position="BOUGHT",
        quantity=10, stop_loss=Decimal("1490.00"), entry_price=Decimal("1500.00"),
    )  # fmt: skip


async def opened(page: LivePage) -> dict[str, Any]:
    """Return the first snapshot: from then on the page is in its group."""
    assert page.accepted
    return await page.next_of("snapshot")


# --- who may listen ---------------------------------------------------------------------


async def test_without_login_the_socket_is_accepted_and_closed_with_4401() -> None:
    async with LivePage() as page:
        assert page.accepted
        assert await page.close_code() == 4401


async def test_another_site_s_page_is_refused(cookie: str) -> None:
    async with LivePage(cookie, origin="http://evil.example") as page:
        assert not page.accepted


async def test_an_unknown_address_is_refused(cookie: str) -> None:
    async with LivePage(cookie, path="/ws/nothing/") as page:
        assert not page.accepted


@pytest.mark.parametrize("event", ["logout", "disabled", "password"])
async def test_the_socket_ends_soon_after_the_session_does(event: str, user: User, cookie: str) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        if event == "logout":
            await Session.objects.all().adelete()
        elif event == "disabled":
            user.is_active = False
            await user.asave()
        else:
            user.set_password("a-new-password-for-tests")
            await user.asave()

        assert await page.close_code(timeout=5) == 4401


# --- what is told -----------------------------------------------------------------------


async def test_the_snapshot_holds_everything(strategy: Strategy, cookie: str) -> None:
    async with LivePage(cookie) as page:
        snapshot = await opened(page)

    [row] = snapshot["strategies"]
    assert (row["id"], row["symbol"], row["stop"], row["quantity"]) == (
        strategy.pk,
        "NSE:INFY",
        "1490.00",
        10,
    )
    assert row["state"] == "Not started: the stop is off"
    assert (row["can_start"], row["can_stop"]) == (True, False)
    assert [row["name"] for row in snapshot["listeners"]] == ["Test"]
    assert {"watch", "exits", "events", "seq", "at"} <= snapshot.keys()


async def test_prices_arrive_as_they_were_sent(user: User, cookie: str) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        await send_prices(user.pk, 1, [["NSE:INFY", "1499.95", 1_000]])

        assert (await page.next_of("prices"))["prices"] == [["NSE:INFY", "1499.95", 1_000]]


async def test_frames_are_numbered_without_a_gap(user: User, cookie: str) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        await send_prices(user.pk, 1, [["NSE:INFY", "1499.95", 1]])
        await send_news(user.pk, 2, "alert", {"text": "hello"})
        await send_prices(user.pk, 3, [["NSE:INFY", "1500.00", 2]])
        frames = [await page.next() for _ in range(4)]

    numbers = [frame["seq"] for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


async def test_news_keep_their_order(user: User, cookie: str) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        for n in range(1, 21):
            await send_news(user.pk, n, "alert", {"n": n})

        assert [(await page.next_of("alert"))["body"]["n"] for _ in range(20)] == list(range(1, 21))


async def test_a_lost_message_brings_a_fresh_snapshot(user: User, cookie: str) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        await send_prices(user.pk, 1, [["NSE:INFY", "1499.95", 1]])
        await page.next_of("prices")
        await send_prices(user.pk, 3, [["NSE:INFY", "1499.90", 2]])

        assert await page.next_of("snapshot")


async def test_a_page_may_ask_for_a_snapshot(cookie: str) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        await page.send({"type": "snapshot"})

        assert await page.next_of("snapshot")


async def test_a_heartbeat_tells_when_the_listeners_were_last_heard(user: User, cookie: str) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        assert (await page.next_of("heartbeat"))["listeners_at"] is None
        await send_news(user.pk, 1, "heartbeat", {})

        watch = Stopwatch()
        first, second = await page.next_of("heartbeat"), await page.next_of("heartbeat")
    assert first["listeners_at"] or second["listeners_at"]
    assert abs(second["at"] - first["at"] - 1000) < 600 + watch.queued() * 1000


async def test_starting_a_strategy_shows_at_once(user: User, strategy: Strategy, cookie: str) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        await sync_to_async(services.start_strategy)(strategy, by=user)
        rows: list[Any] = []
        while not any(row and row["status"] == "active" for row in rows):
            rows.append((await page.next_of("strategy")).get("row"))

    assert rows[-1]["can_stop"]


async def test_when_very_many_rows_change_at_once_a_snapshot_tells_it(
    user: User, account: BrokerAccount, instruments: Instruments, cookie: str
) -> None:
    one = Strategy(user=user, account=account, instrument=instruments["NSE:INFY"], quantity=10)
    rows = [
        one,
        *(Strategy(user=user, account=account, instrument=one.instrument) for _ in range(ROWS_ONE_BY_ONE)),
    ]
    await Strategy.objects.abulk_create(rows)
    async with LivePage(cookie) as page:
        await opened(page)
        await Strategy.objects.aupdate(quantity=20)
        await send_news(user.pk, 1, "strategy", {})
        assert "body" in await page.next_of("strategy")
        snapshot = await page.next_of("snapshot", "strategy")

    assert [row["quantity"] for row in snapshot["strategies"]] == [20] * len(rows)


# --- a slow page ------------------------------------------------------------------------


async def test_a_page_that_acknowledges_nothing_gets_four_price_frames_and_is_closed(
    user: User, cookie: str
) -> None:
    clock = ManualClock()
    slow: Any = type("Slow", (LiveConsumer,), {"clock": clock})
    async with LivePage(cookie, app=AuthMiddlewareStack(slow.as_asgi())) as page:
        await opened(page)
        frames = [await _one_more_price(page, user, clock, n) for n in range(1, 7)]
        assert [frame is not None for frame in frames] == [True] * 4 + [False] * 2

        clock.now += 11
        assert await page.close_code() == 4408


async def test_an_acknowledging_page_gets_the_newest_price_after_a_pause(user: User, cookie: str) -> None:
    clock = ManualClock()
    slow: Any = type("Slow", (LiveConsumer,), {"clock": clock})
    async with LivePage(cookie, app=AuthMiddlewareStack(slow.as_asgi())) as page:
        await opened(page)
        frames = [await _one_more_price(page, user, clock, n) for n in range(1, 9)]
        last = [frame for frame in frames if frame][-1]
        await page.send({"type": "ack", "seq": last["seq"]})

        assert (await page.next_of("prices"))["prices"] == [["NSE:INFY", "8.00", 8]]


async def test_a_hidden_page_gets_news_but_no_prices_and_a_snapshot_when_it_is_back(
    user: User, cookie: str
) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        await page.send({"type": "pause"})
        await page.next_of("heartbeat")  # by then it has been read
        for n in range(1, 11):
            await send_prices(user.pk, n, [["NSE:INFY", f"{n}.00", n]])
        await send_news(user.pk, 11, "alert", {"text": "hello"})
        frames = [await page.next_of("prices", "alert", "heartbeat") for _ in range(2)]
        assert "alert" in {frame["type"] for frame in frames}
        assert "prices" not in {frame["type"] for frame in frames}

        await page.send({"type": "resume"})
        assert (await page.next_of("snapshot", "prices"))["type"] == "snapshot"
        await send_prices(user.pk, 12, [["NSE:INFY", "12.00", 12]])
        assert (await page.next_of("prices"))["prices"] == [["NSE:INFY", "12.00", 12]]


async def _one_more_price(page: LivePage, user: User, clock: ManualClock, n: int) -> dict[str, Any] | None:
    """Send one price, let a second pass on the page's clock, return the price frame if one came."""
    await send_prices(user.pk, n * 2, [["NSE:INFY", f"{n}.00", n]])
    await send_news(user.pk, n * 2 + 1, "alert", {})
    clock.now += 1
    frames = [await page.next_of("prices", "alert", "heartbeat")]
    while not {"alert", "heartbeat"} <= {frame["type"] for frame in frames}:
        frames.append(await page.next_of("prices", "alert", "heartbeat"))
    return next((frame for frame in frames if frame["type"] == "prices"), None)


# --- two users --------------------------------------------------------------------------


async def test_a_user_hears_nothing_of_another(
    user: User, other: User, strategy: Strategy, cookie: str
) -> None:
    theirs = await sync_to_async(session_cookie)(other)
    async with LivePage(cookie) as mine, LivePage(theirs) as page:
        await opened(mine)
        snapshot = await opened(page)
        await send_prices(user.pk, 1, [["NSE:INFY", "1499.95", 1]])
        await send_news(user.pk, 2, "exit", {"secret": True})
        assert {(await mine.next_of("exit", "prices"))["type"] for _ in range(2)} == {"exit", "prices"}
        frames = [await page.next() for _ in range(3)]

    assert not any(snapshot[name] for name in ("strategies", "watch", "exits", "events", "listeners"))
    assert {frame["type"] for frame in frames} == {"heartbeat"}


async def test_watching_never_touches_another_user_s_account(
    user: User, other: User, account: BrokerAccount, instruments: Instruments
) -> None:
    theirs = await sync_to_async(session_cookie)(other)
    async with LivePage(theirs) as page:
        await opened(page)
        await page.send(
            {"type": "watch", "instruments": ["NSE:INFY"], "account": account.pk, "user": user.pk}
        )

        assert "no broker account" in (await page.next_of("alert"))["body"]["text"]
    assert not await Subscription.objects.aexists()


# --- the watch list ---------------------------------------------------------------------


async def test_watch_and_unwatch_write_the_user_s_own_rows(
    user: User, account: BrokerAccount, instruments: Instruments, cookie: str
) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        await page.send({"type": "watch", "instruments": ["nse:infy", "NSE:SBIN", "NSE:INFY"]})
        snapshot = await page.next_of("snapshot")
        assert [row["symbol"] for row in snapshot["watch"]] == ["NSE:INFY", "NSE:SBIN"]
        rows = [row async for row in Subscription.objects.values_list("account", "holder")]
        assert rows == [(account.pk, f"watch:{user.pk}")] * 2

        await page.send({"type": "unwatch", "instruments": ["NSE:INFY"]})
        snapshot = await page.next_of("snapshot")
        assert [row["symbol"] for row in snapshot["watch"]] == ["NSE:SBIN"]


@pytest.mark.parametrize(
    ("symbol", "says"), [("NSE:NOPE", "NSE:NOPE is not in"), ("INFY", "EXCHANGE:SYMBOL")]
)
async def test_what_cannot_be_watched_is_said_and_writes_nothing(
    symbol: str, says: str, account: BrokerAccount, instruments: Instruments, cookie: str
) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        await page.send({"type": "watch", "instruments": ["NSE:SBIN", symbol]})

        assert says in (await page.next_of("alert"))["body"]["text"]
    assert not await Subscription.objects.aexists()


# --- abuse ------------------------------------------------------------------------------


async def test_a_malformed_message_is_answered_and_the_socket_stays(cookie: str) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        await page.socket.send_to(text_data="{")
        assert "not JSON" in (await page.next_of("alert"))["body"]["text"]

        await page.send({"type": "snapshot"})
        assert await page.next_of("snapshot")


@pytest.mark.parametrize(
    ("sent", "code"), [({"text_data": "x" * 70_000}, 1009), ({"bytes_data": b"x"}, 1003)]
)
async def test_oversize_and_binary_messages_end_the_socket(
    sent: dict[str, Any], code: int, cookie: str
) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        await page.socket.send_to(**sent)

        assert await page.close_code() == code


async def test_a_flood_of_messages_ends_the_socket(cookie: str) -> None:
    async with LivePage(cookie) as page:
        await opened(page)
        for _ in range(60):
            await page.send({"type": "snapshot"})

        assert await page.close_code() == 4429


async def test_one_user_cannot_open_sockets_without_end(cookie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveConsumer, "SOCKETS_PER_USER", 2)
    async with LivePage(cookie) as first, LivePage(cookie) as second:
        await asyncio.gather(opened(first), opened(second))
        async with LivePage(cookie) as third:
            assert await third.close_code() == 4429

    async with LivePage(cookie) as again:
        assert await opened(again)
