from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from playwright.async_api import Locator, Page, expect

from marketdata.clock import SystemClock
from marketdata.models import BrokerAccount, Instrument, Listener
from strategies import services
from strategies.models import Strategy, StrategyEvent
from tests.support.browser import CHROMIUM, PHONE, browser, visitor
from tests.support.page import Silence, Web, speaking
from tests.support.valkey import PrivateValkey
from tests.support.waiting import eventually_async

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
PASSWORD = "a-password-for-tests"


@pytest.fixture
def strategy(user: User, account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    row = Strategy.objects.create(
        user=user, account=account, instrument=instruments["NSE:INFY"], name="Infosys swing", position="BOUGHT",
        quantity=10, stop_loss=Decimal("1490.00"), entry_price=Decimal("1500.00"),
    )  # fmt: skip
    services.start_strategy(row, by=user)
    now = datetime.fromtimestamp(SystemClock().time(), UTC) + timedelta(minutes=5)  # fresh for the whole test
    Listener.objects.create(
        account=account, state="connected", reported_at=now, last_tick_at=now, subscription_count=1
    )
    return row


def row_of(page: Page, name: str) -> Locator:
    return page.locator("[data-list=strategies] [data-id]").filter(has_text=name)


async def test_prices_move_and_are_never_shown_as_live_when_old(
    user: User, strategy: Strategy, web: Web, valkey: PrivateValkey
) -> None:
    async with browser() as chromium, visitor(chromium, web.root) as guest:
        row = row_of(guest.page, "Infosys swing")
        async with speaking(user, valkey) as listeners:
            await guest.log_in(user.username, PASSWORD)
            await expect(guest.page.locator("#connection")).to_have_text("Live")
            await expect(row.locator("[data-cell=ltp]")).to_have_text("1,499.95")
            await expect(row.locator("[data-cell=points]")).to_have_text("9.95")
            await expect(row.locator("[data-cell=percent]")).to_have_text("0.66 %")
            await expect(row.locator("[data-cell=risk]")).to_contain_text("₹100")
            await expect(row.locator("[data-cell=state]")).to_have_text("Armed")
            score = guest.page.locator("#score")
            await expect(score).to_contain_text("1 of 1 stop armed and watched")
            await expect(score).to_contain_text("oldest price 0.")
            await expect(score).to_contain_text("Test ok, logged in")
            await expect(score).to_have_attribute("data-tone", "good")

            listeners.prices["NSE:INFY"] = "1493.10"
            await expect(row.locator("[data-cell=ltp]")).to_have_text("1,493.10")
            await expect(row.locator("[data-cell=ltp]")).to_have_attribute("data-move", "down")
            await expect(row).to_have_attribute("data-near", "true")
            await expect(row).to_have_attribute("data-old", "false")
            silence = await Silence.watched(guest.page, web)

        # The listeners have fallen silent.
        assert await silence.noticed_s(listeners.spoke_at) <= 3.5
        await expect(row).to_have_attribute("data-old", "true")
        await expect(guest.page.locator("#connection")).to_have_text("Listeners silent")
        await expect(row.locator("[data-cell=state]")).to_have_text("Armed, not confirmed")
        await expect(score).to_have_attribute("data-tone", "bad")
        await expect(score).to_contain_text("Not confirmed now. Last heard: 1 of 1 stop")
        assert guest.complaints == []


async def test_the_score_is_red_and_says_why_the_moment_a_stop_is_not_watched(
    user: User, strategy: Strategy, web: Web, valkey: PrivateValkey
) -> None:
    async with browser() as chromium, visitor(chromium, web.root) as guest:
        async with speaking(user, valkey) as listeners:
            await guest.log_in(user.username, PASSWORD)
            await expect(guest.page.locator("#score")).to_have_attribute("data-tone", "good")
            await Listener.objects.filter(account__user=user).aupdate(
                unseen={"NSE:INFY": "its feed brings nothing"}
            )
            await listeners.send({"type": "live.message", "kind": "listener", "body": {}})

            await expect(guest.page.locator("#score")).to_have_attribute("data-tone", "bad")
            await expect(guest.page.locator("#score")).to_contain_text("0 of 1 stop armed and watched")
            await expect(guest.page.locator("#score")).to_contain_text(
                "Infosys swing: its feed brings nothing"
            )
        assert guest.complaints == []


async def test_the_page_comes_back_by_itself_when_the_server_does(
    user: User, strategy: Strategy, web: Web, valkey: PrivateValkey
) -> None:
    async with browser() as chromium, visitor(chromium, web.root) as guest, speaking(user, valkey):
        await guest.log_in(user.username, PASSWORD)
        await expect(guest.page.locator("#connection")).to_have_text("Live")

        web.stop()
        await expect(guest.page.locator("#connection")).to_have_text("Disconnected")
        await expect(row_of(guest.page, "Infosys swing")).to_have_attribute("data-old", "true")
        await sync_to_async(web.start)()

        # It waits for up to 15 s between two tries.
        await expect(guest.page.locator("#connection")).to_have_text("Live", timeout=60_000)


async def test_the_buttons_work_in_place_and_events_arrive(
    user: User, strategy: Strategy, web: Web, valkey: PrivateValkey
) -> None:
    async with (
        browser() as chromium,
        visitor(chromium, web.root) as guest,
        speaking(user, valkey) as listeners,
    ):
        await guest.log_in(user.username, PASSWORD)
        row = row_of(guest.page, "Infosys swing")
        await expect(guest.page.locator("#connection")).to_have_text("Live")

        await row.get_by_role("button", name="Stop").click()
        await expect(row.locator("[data-cell=state]")).to_have_text("Stopped: the stop is off")
        await expect(guest.page.locator("[data-list=events]")).to_contain_text("Stopped: the stop is off")

        # Just below the stop: starting now would sell at once.
        listeners.prices["NSE:INFY"] = "1489.95"
        await expect(row.locator("[data-cell=ltp]")).to_have_text("1,489.95")

        await StrategyEvent.objects.acreate(
            strategy=strategy, at=datetime.fromtimestamp(SystemClock().time(), UTC), kind="order_rejected",
            detail={"message": "<img src=x onerror=alert(1)>"},
        )  # fmt: skip
        await listeners.send({"type": "live.message", "kind": "strategy", "body": {}})
        await expect(guest.page.locator("[data-list=events]")).to_contain_text("<img src=x onerror=alert(1)>")
        assert guest.complaints == []


async def test_instruments_are_found_as_one_types_and_watched_with_the_keyboard_alone(
    user: User, strategy: Strategy, web: Web
) -> None:
    async with browser() as chromium, visitor(chromium, web.root) as guest:
        await guest.log_in(user.username, PASSWORD)
        await expect(guest.page.locator("#clock")).to_contain_text("IST")
        field, offers = guest.page.locator("#instruments"), guest.page.locator("#offers [role=option]")
        await field.focus()
        await guest.page.keyboard.type("n")
        await expect(offers).to_have_count(0)  # nothing begins so, and one letter is not looked for elsewhere
        await guest.page.keyboard.press("Backspace")
        await guest.page.keyboard.type("s")
        await expect(offers.first).to_contain_text("NSE:SBIN")
        await guest.page.keyboard.press("Escape")
        await expect(guest.page.locator("#offers")).to_be_hidden()
        await guest.page.keyboard.press("ArrowDown")
        await expect(field).to_have_attribute("aria-activedescendant", "offer-0")
        await guest.page.keyboard.press("Enter")

        watched = guest.page.locator("[data-list=watch] [data-id]")
        await expect(watched).to_contain_text("NSE:SBIN")
        await guest.page.reload()
        await expect(watched).to_have_count(1)
        await expect(guest.page.locator("#clock")).to_contain_text("IST")
        await guest.page.get_by_role("button", name="Stop watching NSE:SBIN").click()
        await expect(watched).to_have_count(0)
        assert guest.complaints == []


HALVES = """async (root) => {
  const { Parts } = await import(`${root}/static/live/parts.js`);
  const first = { type: "snapshot", more: true, score: 1, strategies: [1], watch: [] };
  const part = (n, more) => ({ type: "part", more, strategies: [n], watch: [n] });
  const told = (messages, lost = () => false) => {
    const parts = new Parts();
    return messages.map((message, at) => (lost(at) && parts.forget(), parts.take(message)));
  };
  return {
    whole: told([first, part(2, true), part(3, false), { type: "prices" }]),
    interrupted: told([first, { type: "alert" }, part(2, false)]),
    begun_anew: told([first, first, part(2, false)]),
    lost: told([first, part(3, false), { type: "alert" }], (at) => at === 1),
  };
}"""


async def test_a_page_of_thousands_is_shown_when_all_of_it_is_there_and_never_half(
    user: User, account: BrokerAccount, strategy: Strategy, web: Web
) -> None:
    many = [
        Strategy(
            user=user, account=account, instrument=strategy.instrument, name=f"Strategy {n}", status="active",
            position="BOUGHT", quantity=10, entry_price=Decimal(1500), stop_loss=Decimal(1490), epoch=1,
        )
        for n in range(999)
    ]  # fmt: skip
    await sync_to_async(Strategy.objects.bulk_create)(many)
    async with browser() as chromium, visitor(chromium, web.root) as guest:
        await guest.log_in(user.username, PASSWORD)
        await expect(guest.page.locator("[data-list=strategies] [data-id]")).to_have_count(1_000)
        await expect(guest.page.locator("#score")).to_contain_text("of 1000 stops armed and watched")
        found = await guest.page.evaluate(HALVES, web.root)
        assert guest.complaints == []
    joined = {"type": "snapshot", "more": False, "score": 1}
    assert found == {
        "whole": [None, None, {**joined, "strategies": [1, 2, 3], "watch": [2, 3]}, {"type": "prices"}],
        "interrupted": [None, {"type": "alert"}, None],
        "begun_anew": [None, None, {**joined, "strategies": [1, 2], "watch": [2]}],
        "lost": [None, None, {"type": "alert"}],
    }


async def test_exiting_by_hand_asks_first(user: User, strategy: Strategy, web: Web) -> None:
    async with browser() as chromium, visitor(chromium, web.root) as guest:
        await guest.log_in(user.username, PASSWORD)
        await expect(guest.page.locator("#clock")).to_contain_text("IST")  # until then a click asks on a page
        row = row_of(guest.page, "Infosys swing")
        await row.get_by_role("button", name="Exit").click()
        await guest.page.get_by_role("button", name="Leave it").click()
        await expect(guest.page.locator("#ask")).to_be_hidden()
        assert not await strategy.exits.aexists()

        await row.get_by_role("button", name="Exit").click()
        await expect(guest.page.get_by_role("dialog")).to_contain_text("Exit Infosys swing now?")
        await guest.page.get_by_role("button", name="Exit now").click()
        await expect(row.locator("[data-cell=state]")).to_contain_text("Triggered")
        await expect(guest.page.locator("[data-list=exits]")).to_contain_text("Infosys swing")
        assert await strategy.exits.acount() == 1


async def test_an_exit_that_waits_for_a_person_is_sent_again_from_the_page(
    user: User, strategy: Strategy, web: Web
) -> None:
    await sync_to_async(services.exit_now)(strategy)
    await strategy.exits.aupdate(state="needs_human", concern="The broker refused the exit order.")
    async with browser() as chromium, visitor(chromium, web.root) as guest:
        await guest.log_in(user.username, PASSWORD)
        await expect(guest.page.locator("#clock")).to_contain_text("IST")  # until then a click asks on a page
        row = guest.page.locator("[data-list=exits] > .line").first
        await expect(row).to_contain_text("Needs you")
        await row.get_by_role("button", name="Send again").click()
        dialog = guest.page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Send the exit of Infosys swing again?")
        await expect(dialog).to_contain_text("Look at the broker's order book first.")
        await dialog.get_by_role("button", name="Send again").click()
        await expect(dialog).to_be_hidden()
        await eventually_async(strategy.exits.filter(resumed_at__isnull=False).aexists)
        await expect(row.locator("[data-cell=note]")).to_be_empty()
        assert guest.complaints == []


async def test_a_phone_shows_one_column_without_sideways_scrolling(
    user: User, strategy: Strategy, web: Web
) -> None:
    async with browser() as chromium, visitor(chromium, web.root, size=PHONE, scheme="dark") as guest:
        await guest.log_in(user.username, PASSWORD)
        await expect(row_of(guest.page, "Infosys swing")).to_be_visible()
        for path in ("/", f"/strategies/{strategy.pk}/"):
            await guest.page.goto(web.root + path)
            assert await guest.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
        assert guest.complaints == []


async def test_logging_out_elsewhere_closes_the_page(user: User, strategy: Strategy, web: Web) -> None:
    async with browser() as chromium, visitor(chromium, web.root) as guest:
        await guest.log_in(user.username, PASSWORD)
        await expect(row_of(guest.page, "Infosys swing")).to_be_visible()
        await expect(guest.page.locator("#clock")).to_contain_text("IST")
        await Session.objects.all().adelete()

        await expect(guest.page.locator("#id_username")).to_be_visible()


async def test_the_admin_works_under_the_policy(user: User, strategy: Strategy, web: Web) -> None:
    user.is_staff = user.is_superuser = True
    await user.asave()
    async with browser() as chromium, visitor(chromium, web.root) as guest:
        await guest.log_in(user.username, PASSWORD)
        await expect(row_of(guest.page, "Infosys swing")).to_be_visible()
        for path in ("", "strategies/strategy/", "strategies/strategy/add/", "marketdata/brokeraccount/"):
            await guest.page.goto(f"{web.root}/admin/{path}", wait_until="networkidle")
        assert guest.complaints == []
