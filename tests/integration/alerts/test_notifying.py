from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection, transaction

from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from marketdata.secret import Secret
from strategies import notifying
from strategies.alerts import acknowledge, alert_body, announce, close_open, commit_alert
from strategies.channels import ChannelError, PageChannel, apprise_channels
from strategies.feed_alerts import FeedPages
from strategies.journal import Journal
from strategies.models import Alert, AlertDelivery
from strategies.notifying import Notifier, Pipe
from strategies.telling import Telling
from tests.fakes.clock import HandClock
from tests.support.exits import make
from tests.support.sink import Sink, sink
from tests.support.stopwatch import within
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


class Pages:
    """Records what the pages were told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str, dict[str, Any]]] = []

    def send(self, user_id, kind, body) -> None:
        self.told.append((user_id, kind, dict(body)))


@pytest.fixture
def phone() -> Iterator[Sink]:
    with sink() as kept:
        yield kept


@pytest.fixture
def other() -> Iterator[Sink]:
    with sink() as kept:
        yield kept


@pytest.fixture
def pages() -> Pages:
    return Pages()


def notifier(pages: Pages, *sinks: Sink, clock: Clock | None = None) -> Notifier:
    targets = apprise_channels([Secret(each.url) for each in sinks])
    return Notifier(PageChannel(pages), targets, clock or SystemClock())


@asynccontextmanager
async def running(pages: Pages, *sinks: Sink) -> AsyncIterator[Notifier]:
    made = notifier(pages, *sinks)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        made.close()


def commit(user: User, text: str = "look", *, at: float | None = None, **fields: Any) -> Alert:
    moment = datetime.fromtimestamp(SystemClock().time() if at is None else at, UTC)
    alert = commit_alert(user_id=user.pk, text=text, at=moment, **{"kind": "needs_human", **fields})
    assert alert is not None
    return alert


@sync_to_async
def rows() -> dict[str, tuple[int, bool, str]]:
    found = AlertDelivery.objects.order_by("channel")
    return {row.channel: (row.attempts, row.delivered_at is not None, row.error) for row in found}


async def all_told(count: int) -> None:
    async def look() -> bool:
        return await AlertDelivery.objects.filter(delivered_at__isnull=False).acount() == count

    await eventually_async(look, 5)


async def test_what_was_committed_before_a_crash_is_told_once_through_every_channel(
    user, pages, phone, other
):
    alert = await sync_to_async(commit)(user)  # and nobody lived to announce it
    async with running(pages, phone, other):
        await all_told(3)
        await asyncio.sleep(0)
    assert phone.titles == other.titles == ["Tickguard: needs you"]
    assert [(who, kind, body["id"]) for who, kind, body in pages.told] == [(user.pk, "alert", alert.pk)]
    assert set(await rows()) == {"page", "apprise 1 (json)", "apprise 2 (json)"}
    assert "hush-hush" not in str(await rows())

    async with running(pages, phone, other) as again:  # a restart tells nothing twice
        await asyncio.gather(*await again.sweep())
    assert (len(pages.told), len(phone.posts), len(other.posts)) == (1, 1, 1)


async def test_a_channel_that_hangs_keeps_no_other_waiting(user, pages, phone, other):
    other.hang()
    async with running(pages, other, phone):
        for text in ("first", "second"):
            with within(2):
                await sync_to_async(commit)(user, text)
                await eventually_async(partial(_has, phone, text), 20)
        assert other.posts == []
        assert {body["text"] for _, _, body in pages.told} == {"first", "second"}
        assert not (await rows())["apprise 1 (json)"][1]


async def test_an_announced_alert_reaches_pages_at_once_and_once(user, pages, phone):
    async with running(pages, phone) as made:
        announcer = _Announcer(made)

        @sync_to_async
        def change() -> None:
            with transaction.atomic():
                announce(commit(user), announcer)
                assert pages.told == []  # not before the commit
            assert len(pages.told) == 1

        await change()
        await all_told(2)
    assert len(pages.told) == len(phone.posts) == 1


class _Announcer:
    def __init__(self, to: Notifier) -> None:
        self.to = to

    def tell(self, user_id, kind, body) -> None:
        self.to.announce(user_id, body)

    def publish(self, channel, message) -> None:
        raise NotImplementedError


async def test_a_refusal_is_written_down_and_tried_again(user, pages, phone):
    phone.status = 500
    await sync_to_async(commit)(user)
    async with running(pages, phone):
        await eventually_async(lambda: _failed("apprise 1 (json)"), 5)
        attempts, _, error = (await rows())["apprise 1 (json)"]
        assert attempts >= 1
        assert "500" in error
        assert "hush-hush" not in error
        phone.status = 200
        await all_told(2)
    attempts, _, error = (await rows())["apprise 1 (json)"]
    assert (attempts >= 2, error, len(phone.posts)) == (True, "", 1)


def _has(phone: Sink, text: str) -> bool:
    return text in str(phone.posts)


async def _failed(channel: str) -> bool:
    return bool((await rows()).get(channel, (0, False, ""))[2])


async def test_messages_that_never_end_are_not_piled_up(phone, monkeypatch):
    monkeypatch.setattr(notifying, "SEND_WITHIN_S", 0.05)
    phone.hang()
    [channel] = apprise_channels([Secret(phone.url)])
    pipe = Pipe(channel)
    alarm = Telling(1, "user 1", {"text": "look", "at": 0.0})
    for says in ["no answer"] * 3 + ["3 earlier messages"] * 2:
        with pytest.raises(ChannelError, match=says):
            await pipe.tell([alarm])

    phone.answers.set()
    monkeypatch.setattr(notifying, "SEND_WITHIN_S", 5)
    await eventually_async(lambda: len(phone.posts) == 3)
    await eventually_async(partial(_gets_through, pipe, alarm))
    assert len(phone.posts) == 4


async def _gets_through(pipe: Pipe, telling: Telling) -> bool:
    try:
        await pipe.tell([telling])
    except ChannelError:
        return False
    return True


async def test_an_alarm_needs_no_database(user, pages, phone, settings):
    settings.LIVE_TRADING = True
    async with running(pages, phone) as made:
        Journal(_Announcer(made), SystemClock(), random.Random(1), lambda _: None).alarm(
            user.pk, "The database cannot be written."
        )
        await eventually_async(lambda: phone.posts, 2)
    assert phone.titles == ["Tickguard: maybe LIVE · something failed"]
    assert "cannot be written" in phone.posts[0]["message"]
    assert [body["text"] for _, _, body in pages.told] == ["The database cannot be written."]
    assert not await Alert.objects.aexists()


async def test_trouble_of_a_feed_becomes_a_row_and_reaches_everybody(account, pages, phone):
    async with running(pages, phone) as made:
        feed_pages = FeedPages(pages, made)
        now = SystemClock().time()
        body = {"account": account.pk, "text": "Log in again.", "at": now}
        feed_pages.send(account.user_id, "alert", body)
        await all_told(2)
        feed_pages.send(account.user_id, "alert", {**body, "at": now + 1})  # the same, once more
        feed_pages.send(account.user_id, "listener", {"account": account.pk, "state": "connected", "at": now})
        await eventually_async(Alert.objects.filter(closed_at__isnull=False).aexists, 5)
    assert (len(phone.posts), [kind for _, kind, _ in pages.told]) == (1, ["alert", "listener"])
    assert (pages.told[0][2]["kind"], pages.told[0][2]["name"]) == ("feed", "Test")


# --- repeating, on a clock moved by hand ---------------------------------------------------


class Hand:
    """A notifier that sweeps when told to, on a clock that moves when told to."""

    def __init__(self, pages: Pages, phone: Sink) -> None:
        self.clock, self.phone = HandClock(), phone
        self.notifier = notifier(pages, phone, clock=self.clock)

    async def told_after(self, seconds: float) -> int:
        """Let time pass; return how many messages the phone has had."""
        self.clock.advance(seconds)
        await asyncio.gather(*await self.notifier.sweep())
        return len(self.phone.posts)


@pytest.fixture
async def hand(pages, phone) -> AsyncIterator[Hand]:
    made = Hand(pages, phone)
    yield made
    made.notifier.close()


async def test_urgent_ones_are_repeated_until_acknowledged(user, hand, pages, phone):
    alert = await sync_to_async(commit)(user, at=hand.clock.now)
    passed = [0, 14.9, 0.1, 44.9, 0.1, 119.9, 0.1, 120]
    assert [await hand.told_after(seconds) for seconds in passed] == [1, 1, 2, 2, 3, 3, 4, 5]
    assert "Told 5 times" in phone.posts[-1]["message"]
    assert [body["repeat"] for _, _, body in pages.told] == [0, 1, 2, 3, 4]

    await sync_to_async(acknowledge)(alert, user)
    assert [await hand.told_after(600), await hand.told_after(600)] == [5, 5]


async def test_repeating_ends_with_the_cause(user, hand):
    alert = await sync_to_async(commit)(user, at=hand.clock.now)
    assert await hand.told_after(0) == 1
    await sync_to_async(close_open)(datetime.fromtimestamp(hand.clock.now, UTC), pk=alert.pk)
    assert await hand.told_after(600) == 1


async def test_news_are_told_once(user, hand):
    await sync_to_async(commit)(user, at=hand.clock.now, urgency="info")
    assert [await hand.told_after(seconds) for seconds in (0, 15, 600, 7200)] == [1, 1, 1, 1]


async def test_a_claim_of_a_process_that_died_runs_out(user, hand, pages, phone):
    await sync_to_async(commit)(user, at=hand.clock.now, urgency="info")
    dead = notifier(pages, phone, clock=hand.clock)
    for task in await dead.sweep():
        task.cancel()  # taken, and never said how it went
    dead.close()
    assert await hand.told_after(29) == 0
    assert await hand.told_after(1) == 1


async def test_retries_come_ever_more_slowly(user, hand, phone):
    phone.status = 500
    await sync_to_async(commit)(user, at=hand.clock.now, urgency="info")
    tries = []
    for second in range(70):
        await hand.told_after(1 if second else 0)
        tries.append((await rows())["apprise 1 (json)"][0])
    assert [tries.index(n) for n in range(1, 7)] == [0, 1, 3, 7, 15, 31]


async def test_a_storm_is_one_message_that_leaves_nothing_out(user, hand, phone, pages):
    @sync_to_async
    def commit_all() -> None:
        commit(user, "the first news", at=hand.clock.now, kind="done", urgency="info")
        for number in range(100):
            commit(user, f"exit {number} needs you", at=hand.clock.now)

    await commit_all()
    assert await hand.told_after(0) == 1
    message = phone.posts[0]["message"]
    assert phone.titles == ["Tickguard: 101 alerts, 100 urgent"]
    assert all(f"exit {number} needs you" in message for number in range(100))
    assert message.index("exit 99") < message.index("the first news")
    assert len(pages.told) == 101


def test_a_strategy_whose_prices_cannot_be_read_keeps_nobody_from_being_told(
    account, instruments, pages, phone
):
    row = make(account, instruments["NSE:INFY"], name="Infosys swing")
    commit(account.user, strategy_id=row.pk)
    with connection.cursor() as cursor:
        unreadable = "cheap" if connection.vendor == "sqlite" else "NaN"
        cursor.execute("UPDATE strategies_strategy SET stop_loss = %s WHERE id = %s", [unreadable, row.pk])

    async def once() -> None:
        made = notifier(pages, phone)
        await asyncio.gather(*await made.sweep())
        made.close()

    asyncio.run(once())
    assert phone.titles == ["Tickguard: simulator · Infosys swing · needs you"]


def test_two_processes_share_the_work(user, pages, phone):
    alert = commit(user)
    assert alert_body(alert)["repeat"] == 0

    async def both() -> None:
        one, two = notifier(pages, phone), notifier(pages, phone)
        begun = await asyncio.gather(one.sweep(), two.sweep())
        await asyncio.gather(*(task for tasks in begun for task in tasks))
        one.close()
        two.close()

    asyncio.run(both())
    assert (len(phone.posts), len(pages.told)) == (1, 1)
