"""Alerts on the live page, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.async_api import expect

from marketdata.models import BrokerAccount, Instrument
from strategies.alerts import alert_body, commit_alert
from strategies.models import Alert, Strategy
from strategies.services import start_strategy
from tests.support.browser import CHROMIUM, PHONE, Visitor, browser, visitor
from tests.support.exits import make
from tests.support.page import Web, speaking
from tests.support.valkey import PrivateValkey

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
PASSWORD = "a-password-for-tests"
TEXT = "The exit was sent, but the broker has not confirmed it: look for tag TG1X."
WATCHES_NOTIFICATIONS = """
  window.shown = [];
  window.Notification = class extends Notification {
    constructor(title, options) { super(title, options); window.shown.push([title, options.body, options.tag]); }
  };
"""


@pytest.fixture
def strategy(account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    return start_strategy(make(account, instruments["NSE:INFY"], name="Infosys swing"))


@sync_to_async
def alert(strategy: Strategy, text: str = TEXT, **fields: Any) -> Alert:
    given: dict[str, Any] = {
        "kind": "needs_human",
        "at": timezone.now(),
        "strategy_id": strategy.pk,
        **fields,
    }
    made = commit_alert(user_id=strategy.user_id, text=text, **given)
    assert made is not None
    return made


@asynccontextmanager
async def at_the_page(web: Web, user: User, **kwargs: Any) -> AsyncIterator[Visitor]:
    async with browser() as chromium, visitor(chromium, web.root, **kwargs) as guest:
        await guest.log_in(user.username, PASSWORD)
        await expect(guest.page.locator("#clock")).to_contain_text("IST")
        yield guest


async def test_an_alert_stays_through_a_reload_until_it_is_acknowledged(
    user: User, strategy: Strategy, web: Web
) -> None:
    made = await alert(strategy)
    await alert(strategy, "The order limit is near.", kind="budget", urgency="info")
    async with at_the_page(web, user) as guest:
        rows = guest.page.locator("[data-list=alerts] [data-id]")
        await expect(rows).to_have_count(2)
        await expect(rows.first).to_contain_text(TEXT)  # what is urgent stands first
        await guest.page.reload()
        await expect(rows.first.locator("[data-cell=name]")).to_have_text("Infosys swing")
        await expect(guest.page.locator("#clock")).to_contain_text("IST")

        await rows.first.get_by_role("button", name="Acknowledge").click()
        await expect(rows.first).to_contain_text("The order limit is near.")
        await expect(rows.last).to_contain_text("Acknowledged at")
        await expect(rows.last.get_by_role("button")).to_be_hidden()
        await rows.first.get_by_role("button", name="Dismiss").click()
        await expect(guest.page.locator("[data-list=alerts] [data-waits=true]")).to_have_count(0)

        await guest.page.reload()
        await expect(rows).to_have_count(2)
        await expect(guest.page.locator("[data-list=alerts] button:visible")).to_have_count(0)
        assert guest.complaints == []
    await made.arefresh_from_db()
    assert made.acknowledged_by_id == user.pk


async def test_all_are_acknowledged_with_one_click(user: User, strategy: Strategy, web: Web) -> None:
    await alert(strategy)
    await alert(strategy, "another")
    other = await User.objects.acreate_user("other", "", PASSWORD)
    theirs = await sync_to_async(commit_alert)(
        user_id=other.pk, kind="needs_human", text="not yours", at=timezone.now()
    )
    assert theirs is not None
    async with at_the_page(web, user) as guest:
        await expect(guest.page.locator("[data-list=alerts] [data-id]")).to_have_count(2)
        assert "not yours" not in await guest.page.content()
        await guest.page.get_by_role("button", name="Acknowledge all").click()
        await expect(guest.page.locator("[data-list=alerts] [data-waits=true]")).to_have_count(0)
        await expect(guest.page.get_by_role("button", name="Acknowledge all")).to_be_hidden()
    await theirs.arefresh_from_db()
    assert theirs.acknowledged_at is None


async def test_desktop_notifications_are_asked_for_and_shown_once(
    user: User, strategy: Strategy, web: Web, valkey: PrivateValkey
) -> None:
    async with (
        browser() as chromium,
        visitor(chromium, web.root) as guest,
        speaking(user, valkey) as listeners,
    ):
        await guest.page.add_init_script(WATCHES_NOTIFICATIONS)
        await guest.log_in(user.username, PASSWORD)
        await expect(guest.page.locator("#connection")).to_have_text("Live")
        assert await guest.page.evaluate("Notification.permission") == "default"

        # The person says yes: the browser's own question cannot be clicked from here.
        await guest.page.context.grant_permissions(["notifications"], origin=web.root)
        await guest.page.locator("#notify").click()
        await expect(guest.page.locator("#notify")).to_be_hidden()

        made = await alert(strategy, at=timezone.now() - timedelta(seconds=1))
        body = await sync_to_async(alert_body)(made)
        await listeners.send({"type": "live.message", "kind": "alert", "body": body})
        await expect(guest.page.locator("[data-list=alerts]")).to_contain_text(TEXT)
        await guest.page.wait_for_function("window.shown.length")  # told and listed each on its own way
        shown = await guest.page.evaluate("window.shown")
        assert shown == [[f"{made.mode} · Infosys swing", TEXT, f"alert-{made.pk}"]]

        # An alarm has no row: it stands in the banner.
        await listeners.send(
            {"type": "live.message", "kind": "alert", "body": {"text": "The database is down.", "at": 0}}
        )
        await expect(guest.page.locator("#alert")).to_contain_text("The database is down.")
        assert guest.complaints == []


async def test_without_scripts_it_is_acknowledged_all_the_same(
    user: User, strategy: Strategy, web: Web
) -> None:
    made = await alert(strategy)
    async with browser() as chromium:
        context = await chromium.new_context(java_script_enabled=False)
        guest = Visitor(await context.new_page(), web.root)
        await guest.log_in(user.username, PASSWORD)
        await guest.page.get_by_role("button", name="Acknowledge").click()
        await expect(guest.page.locator("[data-list=alerts]")).to_contain_text("Acknowledged at")
        await context.close()
    await made.arefresh_from_db()
    assert made.acknowledged_at is not None


async def test_a_phone_shows_alerts_without_sideways_scrolling(
    user: User, strategy: Strategy, web: Web
) -> None:
    await alert(strategy, TEXT + " " + "x" * 300)
    async with at_the_page(web, user, size=PHONE, scheme="dark") as guest:
        await expect(guest.page.locator("[data-list=alerts] [data-id]")).to_have_count(1)
        assert await guest.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
