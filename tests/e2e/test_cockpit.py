"""The admin in a real browser: under the policy, on a desk and a phone, in both schemes, without scripts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from django.contrib.auth.models import User
from playwright.async_api import Page, expect

from marketdata.clock import SystemClock
from marketdata.models import BrokerAccount, Instrument, Listener
from strategies import services
from strategies.alerts import commit_alert
from strategies.models import Strategy
from tests.support.browser import CHROMIUM, DESKTOP, PHONE, Scheme, Visitor, browser, visitor
from tests.support.page import Web

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.timeout(300),
]
PASSWORD = "a-password-for-tests"


@pytest.fixture
def root(user: User) -> User:
    user.is_staff = user.is_superuser = True
    user.save()
    return user


@pytest.fixture
def armed(root: User, account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    terms: dict[str, Any] = {
        "user": root, "account": account, "position": "BOUGHT", "quantity": 10, "stop_loss": Decimal("1490.00"),
    }  # fmt: skip
    row = Strategy.objects.create(name="Infosys swing", instrument=instruments["NSE:INFY"], **terms)
    over = Strategy.objects.create(name="State Bank", instrument=instruments["NSE:SBIN"], **terms)
    Strategy.objects.create(name="Reliance draft", instrument=instruments["NSE:RELIANCE"], **terms)
    for strategy in (row, over):
        services.start_strategy(strategy, by=root)
    services.exit_now(over, by=root)
    report(account)
    now = datetime.fromtimestamp(SystemClock().time(), UTC)
    commit_alert(
        user_id=root.pk, kind="needs_human", text="The broker refused it.", at=now, strategy_id=over.pk
    )
    return row


def report(account: BrokerAccount, state: str = "connected") -> None:
    now = datetime.fromtimestamp(SystemClock().time(), UTC) + timedelta(minutes=5)  # fresh for the whole test
    told = {"state": state, "reported_at": now, "last_tick_at": now, "subscription_count": 1}
    Listener.objects.update_or_create(account=account, defaults=told)


async def enter(guest: Visitor, web: Web, path: str = "") -> None:
    await guest.page.goto(f"{web.root}/admin/{path}")
    await guest.page.fill("#id_username", "trader")
    await guest.page.fill("#id_password", PASSWORD)
    await guest.page.click("[type=submit]")


async def serious(page: Page) -> list[str]:
    """Return what axe finds that keeps somebody out."""
    found = (await Axe().run(page, options={"resultTypes": ["violations"], "preload": False})).response[
        "violations"
    ]
    grave = [one for one in found if one["impact"] in {"serious", "critical"}]
    return [f"{one['id']}: {node['html'][:120]}" for one in grave for node in one["nodes"]]


async def test_every_page_is_readable_and_keeps_the_policy(armed: Strategy, web: Web) -> None:
    exit_ = await Strategy.objects.aget(name="State Bank")
    pages = (
        "strategies/strategy/",
        f"strategies/strategy/{armed.pk}/change/",
        f"strategies/strategy/{armed.pk}/exit/asked/",
        f"strategies/strategy/{armed.pk}/history/",
        "strategies/strategy/import/",
        f"strategies/exit/{(await exit_.exits.aget()).pk}/change/",
        f"marketdata/brokeraccount/{armed.account_id}/change/",
    )
    looks: tuple[tuple[tuple[int, int], Scheme, tuple[str, ...]], ...] = (
        (DESKTOP, "light", pages),
        (PHONE, "dark", pages),
        (DESKTOP, "dark", ()),
        (PHONE, "light", ()),
    )
    async with browser() as chromium:
        for size, scheme, further in looks:
            async with visitor(chromium, web.root, size=size, scheme=scheme) as guest:
                await enter(guest, web)
                await expect(guest.page.locator("#cockpit-note")).to_have_text("Live")
                await assert_well(guest, size[0], f"index {size} {scheme}")
                for path in further:
                    await guest.page.goto(f"{web.root}/admin/{path}")
                    await assert_well(guest, size[0], f"{path} {size} {scheme}")


async def assert_well(guest: Visitor, width: int, where: str) -> None:
    """Nothing sticks out, the console is silent, and axe finds nothing serious."""
    await guest.page.wait_for_load_state()
    assert await guest.page.evaluate("document.documentElement.scrollWidth") <= width, where
    assert guest.complaints == [], where
    assert await serious(guest.page) == [], where
    guest.complaints.clear()  # axe itself writes styles into the page


async def test_badges_move_by_themselves_and_dim_when_the_server_is_gone(armed: Strategy, web: Web) -> None:
    async with browser() as chromium, visitor(chromium, web.root) as guest:
        await enter(guest, web)
        state = guest.page.locator("#card-listeners [data-field=state]")
        await expect(state).to_have_text("Connected")
        await Listener.objects.aupdate(state="connecting")
        await expect(state).to_have_text("Connecting")
        await expect(state).to_have_attribute("data-tone", "busy")
        await expect(guest.page.locator("#card-protection .total")).to_have_text("0 of 1 armed stops watched")
        assert guest.complaints == []

        web.stop()
        await expect(guest.page.locator("#cockpit-note")).to_contain_text("Not live")
        await expect(guest.page.locator("html")).to_have_attribute("data-cockpit", "down")
        web.start()


async def test_everything_works_without_scripts(armed: Strategy, web: Web) -> None:
    draft = await Strategy.objects.aget(name="Reliance draft")
    async with browser() as chromium:
        context = await chromium.new_context(java_script_enabled=False)
        guest = Visitor(await context.new_page(), web.root)
        page = guest.page
        await enter(guest, web)
        await expect(page.locator("#card-listeners [data-field=state]")).to_have_text("Connected")
        await page.locator("#content-main").get_by_role("link", name="Strategies", exact=True).last.click()

        await page.check(f"input[name=_selected_action][value='{draft.pk}']")
        await page.select_option("select[name=action]", "arm_strategies")
        await page.get_by_role("button", name="Go").click()
        await expect(page.locator("h1")).to_contain_text("Arm the stop?")
        await expect(page.get_by_role("table")).to_contain_text("NSE:RELIANCE")
        await page.get_by_role("button", name="Yes, arm").click()
        await expect(page.locator(".messagelist")).to_contain_text("1 armed.")

        await page.get_by_role("link", name="Infosys swing").click()
        await page.get_by_role("link", name="Exit now").click()
        await page.get_by_role("link", name="No, take me back").click()
        assert not await armed.exits.aexists()
        await page.get_by_role("link", name="Exit now").click()
        await page.get_by_role("button", name="Yes, exit now").click()
        await expect(page.locator(".messagelist")).to_contain_text("1 being exited.")
        await page.get_by_role("link", name="History").click()
        await expect(page.locator("#change-history")).to_contain_text("exit asked")

        await page.goto(f"{web.root}/admin/")
        await page.get_by_role("link", name="Stop the listener of Test (trader)").click()
        await page.get_by_role("button", name="Yes, stop").click()
        await expect(page.locator(".messagelist")).to_contain_text("will be stopped within 2 seconds")
        await context.close()
    await draft.arefresh_from_db()
    assert draft.status == "active"
    assert await armed.exits.acount() == 1
    assert await BrokerAccount.objects.filter(pk=armed.account_id, desired_state="stopped").aexists()
