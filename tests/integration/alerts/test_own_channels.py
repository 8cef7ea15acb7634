"""Channels that users enter for themselves: the page, the test, and what the notifier does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from marketdata.clock import SystemClock
from strategies.alerts import commit_alert
from strategies.channels import PageChannel
from strategies.models import AlertChannel, AlertDelivery
from strategies.notifying import Notifier
from tests.support.sink import Sink, sink
from tests.support.waiting import eventually_async

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:No directory at"),
]
PAGE = "/alerts/channels/"
TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/12315544"


class NoPages:
    def send(self, *_: object) -> None:
        """Nobody looks."""


@pytest.fixture
def phone() -> Iterator[Sink]:
    with sink() as kept:
        yield kept


@pytest.fixture
def staff(user: User) -> User:
    user.is_staff = True
    user.save()
    return user


@pytest.fixture
def trader(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def said(client: Client, address: str, data: dict[str, str] | None = None) -> str:
    answer = client.post(address, data or {}, follow=True)
    return " ".join(map(str, answer.context["messages"]))


def own(user: User, phone: Sink, **changes: bool) -> AlertChannel:
    return AlertChannel.objects.create(user=user, name="Phone", url=phone.url, service="JSON", **changes)


def commit(user: User, text: str, urgency: str = "urgent") -> None:
    moment = datetime.fromtimestamp(SystemClock().time(), UTC)
    assert commit_alert(user_id=user.pk, kind="needs_human", text=text, at=moment, urgency=urgency)


async def tell_all(user: User) -> None:
    """Run a notifier without targets of the installation until nothing is owed any more."""
    notifier = Notifier(PageChannel(NoPages()), (), SystemClock())
    await asyncio.gather(*await notifier.sweep())
    notifier.close()


def test_a_channel_is_stored_encrypted_and_never_shown_again(trader: Client, user: User) -> None:
    answer = trader.post(PAGE, {"name": "My Telegram", "url": f" {TELEGRAM} ", "enabled": "on"}, follow=True)

    row = AlertChannel.objects.get(user=user)
    assert (row.url.reveal(), row.service, row.urgent_only) == (TELEGRAM, "Telegram", False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT url FROM strategies_alertchannel")
        assert "abcdefg" not in cursor.fetchone()[0]
    for page in (answer, trader.get(f"{PAGE}{row.pk}/")):
        assert "My Telegram" in page.content.decode()
        assert "abcdefg" not in page.content.decode()

    trader.post(f"{PAGE}{row.pk}/", {"name": "Renamed", "url": "", "urgent_only": "on"})
    row.refresh_from_db()
    assert (row.name, row.url.reveal(), row.urgent_only, row.enabled) == ("Renamed", TELEGRAM, True, False)
    assert "is deleted" in said(trader, f"{PAGE}{row.pk}/delete/")
    assert not AlertChannel.objects.exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "Type the address"),
        ("nosuch://x", "none that apprise knows"),
        ("json://127.0.0.1:8000/", "for staff only"),
        ("mailto://a:b@gmail.com?smtp=127.0.0.1", "for staff only"),
    ],
)
def test_what_is_refused_stands_beside_the_address(trader: Client, url: str, words: str) -> None:
    answer = trader.post(PAGE, {"name": "X", "url": url, "enabled": "on"})
    assert words in answer.context["form"].errors["url"][0]
    assert 'id="id_url_error"' in answer.content.decode()
    assert not AlertChannel.objects.exists()


def test_the_test_tells_how_it_went_and_gives_no_secret_away(
    trader: Client, staff: User, phone: Sink
) -> None:
    row = own(staff, phone)
    assert "Phone took the test" in said(trader, f"{PAGE}{row.pk}/test/")
    assert phone.titles == ["Tickguard: a test"]

    phone.status = 500
    words = said(trader, f"{PAGE}{row.pk}/test/")
    assert "Phone did not take the test" in words
    assert "500" in words
    assert "hush-hush" not in words


def test_a_server_of_ones_own_is_not_called_once_its_user_is_no_longer_staff(
    trader: Client, user: User, phone: Sink
) -> None:
    row = own(user, phone)
    assert "for staff only" in said(trader, f"{PAGE}{row.pk}/test/")
    assert phone.posts == []


def test_another_user_s_channel_does_not_exist(client: Client, staff: User, phone: Sink) -> None:
    row = own(staff, phone)
    client.force_login(User.objects.create_user("stranger"))
    for address in (f"{PAGE}{row.pk}/", f"{PAGE}{row.pk}/test/", f"{PAGE}{row.pk}/delete/"):
        assert client.post(address, {"name": "Mine"}).status_code == 404
    assert "Phone" not in client.get(PAGE).content.decode()
    assert phone.posts == []


async def test_an_alert_goes_to_its_own_user_s_channels_alone(staff: User, phone: Sink) -> None:
    other = await User.objects.acreate(username="other", is_staff=True)
    with sink() as theirs, sink() as off:
        await sync_to_async(own)(staff, phone)
        await sync_to_async(own)(other, theirs)
        await sync_to_async(own)(staff, off, enabled=False)
        await sync_to_async(commit)(staff, "look at it")
        await tell_all(staff)

        assert [post["title"] for post in phone.posts] == ["Tickguard: needs you"]
        assert theirs.posts == off.posts == []
    assert await AlertDelivery.objects.filter(delivered_at=None).acount() == 0


async def test_news_do_not_go_where_only_urgent_alerts_are_wanted(staff: User, phone: Sink) -> None:
    await sync_to_async(own)(staff, phone, urgent_only=True)
    await sync_to_async(commit)(staff, "filled", "info")
    await tell_all(staff)
    assert phone.posts == []
    await sync_to_async(commit)(staff, "not filled")
    await tell_all(staff)
    assert len(phone.posts) == 1


async def test_a_channel_that_is_added_while_the_notifier_runs_is_told(staff: User, phone: Sink) -> None:
    notifier = Notifier(PageChannel(NoPages()), (), SystemClock())
    task = asyncio.create_task(notifier.run())
    try:
        row = await sync_to_async(own)(staff, phone)
        await sync_to_async(commit)(staff, "first")
        await eventually_async(lambda: _has(phone, 1), 5)
        row.enabled = False
        await row.asave()
        await sync_to_async(commit)(staff, "second")
        await eventually_async(_page_told_twice, 5)
        assert len(phone.posts) == 1
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        notifier.close()


async def _has(phone: Sink, count: int) -> bool:
    return len(phone.posts) >= count


async def _page_told_twice() -> bool:
    return await AlertDelivery.objects.filter(channel="page", delivered_at__isnull=False).acount() == 2
