"""What a page does with its connection: pause while hidden, notice silence, come back with everything."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Page, expect

from marketdata.models import BrokerAccount, Instrument, Subscription
from marketdata.subscriptions import watch_holder
from tests.support.browser import CHROMIUM, browser, visitor
from tests.support.page import Silence, Web, speaking
from tests.support.valkey import PrivateValkey

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
PASSWORD = "a-password-for-tests"
LTP, PILL = "[data-list=watch] [data-cell=ltp]", "#connection"


@pytest.fixture
def watched(user: User, account: BrokerAccount, instruments: Mapping[str, Instrument]) -> None:
    Subscription.objects.create(
        account=account, instrument=instruments["NSE:INFY"], holder=watch_holder(user.pk)
    )


async def look(page: Page, *, hidden: bool) -> None:
    """Do what a browser does to a page whose tab is left or chosen."""
    await page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


async def test_a_hidden_page_pauses_and_catches_up_and_a_silent_server_is_noticed(
    user: User, watched: None, web: Web, valkey: PrivateValkey
) -> None:
    async with (
        browser() as chromium,
        visitor(chromium, web.root) as guest,
        speaking(user, valkey) as listeners,
    ):
        page = guest.page
        await guest.log_in(user.username, PASSWORD)
        await expect(page.locator(LTP)).to_have_text("1,499.95")
        alive = page.locator("body[data-alive=true]")
        await expect(alive).to_be_visible()

        # Hidden: no prices, and what is there counts as old.
        await look(page, hidden=True)
        await expect(page.locator(PILL)).to_have_text("Catching up")
        await expect(alive).to_have_count(0)
        listeners.prices["NSE:INFY"] = "1512.30"
        await listeners.send({"type": "live.message", "kind": "alert", "body": {"text": "Said while hidden"}})
        await expect(page.locator("#alert")).to_contain_text("Said while hidden")  # news go on
        await expect(page.locator(LTP)).to_have_text("1,499.95")

        # Back: the newest price at once, live again.
        await look(page, hidden=False)
        await expect(page.locator(LTP)).to_have_text("1,512.30")
        await expect(alive).to_be_visible()

        # The server stands still: noticed within three seconds, given up, and found again by itself.
        silence, since = await Silence.watched(page, web), time.time()
        web.process.send(signal.SIGSTOP)
        try:
            assert await silence.noticed_s(since) <= 3.5
            await expect(alive).to_have_count(0)
            await expect(page.locator(PILL)).to_have_text("Disconnected", timeout=30_000)
            listeners.prices["NSE:INFY"] = "1498.00"
        finally:
            web.process.send(signal.SIGCONT)
        await expect(page.locator(LTP)).to_have_text("1,498.00", timeout=60_000)
        await expect(alive).to_be_visible()
        assert guest.complaints == []
