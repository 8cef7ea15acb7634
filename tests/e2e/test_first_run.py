"""A new user who is nobody's staff, from an empty account to the first protected position and its exit."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.support.browser import DESKTOP, FLAGS, PHONE
from tests.support.house import House
from tests.support.waiting import eventually

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PASSWORD = "a-password-for-tests"
CLIENT = "FR0001"

pytestmark = [
    pytest.mark.timeout(500),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        yield browser
        browser.close()


class Newcomer:
    """One person at a page of a given size; whatever the console complains of is kept."""

    def __init__(self, chromium: Browser, root: str, size: tuple[int, int]) -> None:
        self.root = root
        self.width = size[0]
        self.complaints: list[str] = []
        self.page: Page = chromium.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.on("console", lambda line: self._heard(line.type, line.text))
        self.page.on("pageerror", lambda error: self._heard("error", str(error)))

    def log_in(self, name: str) -> None:
        self.page.goto(self.root)
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", PASSWORD)
        self.page.click("main button")
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()

    def look(self) -> None:
        """Nothing serious for a screen reader, nothing wider than the page."""
        self.page.wait_for_load_state()  # a click waits for the next page's beginning only
        found = Axe().run(self.page).response["violations"]
        serious = [each for each in found if each["impact"] in {"serious", "critical"}]
        assert serious == [], (self.page.url, json.dumps(serious, indent=1)[:3000])
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.width, self.page.url

    def _heard(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(f"{self.page.url}: {text}")


def add_account(guest: Newcomer, app: dict[str, str]) -> None:
    page = guest.page
    expect(page.get_by_role("heading", name="Next: Add your broker account")).to_be_visible()
    page.get_by_role("link", name="Set up").click()
    guest.look()
    page.get_by_role("link", name="Add an account").click()
    guest.look()
    page.get_by_label("Client id").fill(CLIENT)
    page.get_by_label("API key").fill(app["api_key"])
    page.get_by_label("API secret").fill(app["api_secret"])
    page.get_by_role("button", name="Save and log in").click()
    guest.look()


def log_in_at_the_broker(guest: Newcomer) -> None:
    page = guest.page
    page.locator(".way").get_by_role("link", name="Log in").click()
    expect(page.get_by_role("status")).to_contain_text(f"Logged in as {CLIENT}")
    expect(page.get_by_role("heading", name="Next: Load the instrument list")).to_be_visible()
    guest.look()


def load_the_list(guest: Newcomer) -> None:
    page = guest.page
    page.get_by_role("link", name="Set up").click()
    page.get_by_role("button", name="Load it now").click()
    expect(page.get_by_text("Loaded at")).to_be_visible(timeout=180_000)


def enter_a_strategy(guest: Newcomer) -> None:
    page = guest.page
    page.get_by_role("link", name="New strategy").click()
    field = page.get_by_label("Instrument", exact=True)
    expect(field).to_have_attribute("role", "combobox")
    field.press_sequentially("infy")
    page.get_by_role("option", name=re.compile("NSE:INFY")).click()
    expect(field).to_have_value("NSE:INFY")
    page.get_by_label("Quantity").fill("10")
    page.get_by_label("Stop-loss").fill("1,490.02")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("1490.02 is between two ticks of 0.05: use 1490 or 1490.05")).to_be_visible()
    guest.look()
    page.get_by_label("Stop-loss").fill("1,490")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="The stop is not armed")).to_be_visible()
    guest.look()


def add_a_channel(guest: Newcomer) -> None:
    page = guest.page
    page.get_by_role("link", name="Alerts", exact=True).click()
    page.get_by_label("Name", exact=True).fill("My Telegram")
    page.get_by_label("Address", exact=True).fill("json://127.0.0.1/")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("which is for staff only")).to_be_visible()
    guest.look()
    page.get_by_label("Switched on").uncheck()  # nothing of a test leaves this machine
    page.get_by_label("Address", exact=True).fill("tgram://123456789:abcdefg_hijklmnop/12315544")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("button", name="Send a test to My Telegram")).to_be_visible()
    guest.look()


def shows(page: Page, address: str, what: Locator) -> bool:
    """Tell whether a page that does not renew itself shows something now."""
    page.goto(address)
    return what.count() > 0


def test_a_new_user_comes_from_nothing_to_a_protected_position_and_learns_why_it_exited(
    house: House, user: User, chromium: Browser, tmp_path: Path
) -> None:
    control, root = house.simulator.control, house.web()
    house.listeners().wait_for("running", timeout=60)
    app = control.create_account(CLIENT, redirect_url=f"{root}/brokers/zerodha/callback/")
    control.set_price("NSE:INFY", "1500")
    control.set_position(CLIENT, "NSE:INFY", "MIS", 10)
    guest = Newcomer(chromium, root, DESKTOP)
    page = guest.page
    guest.log_in(user.username)
    guest.look()

    add_account(guest, app)
    log_in_at_the_broker(guest)
    load_the_list(guest)
    enter_a_strategy(guest)
    at_home = page.url
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name="The stop is armed")).to_be_visible()
    page.goto(root)
    row = page.locator("[data-list=strategies] > [data-id]")
    expect(row.locator("[data-cell=state]")).to_have_text("Armed", timeout=60_000)
    it_is = page.get_by_text("It is. The live page tells you the moment it is not.")
    eventually(lambda: shows(page, f"{root}/start/", it_is), 30)
    guest.look()
    eventually(lambda: not shows(page, root, page.get_by_role("link", name="Set up")), 30)
    add_a_channel(guest)

    page.goto(at_home)
    page.get_by_role("link", name="Move the stop").click()
    expect(page.get_by_label("New stop-loss")).to_be_visible()
    # By the price so far, of half a minute ago, no stop may be refused.
    control.set_price("NSE:INFY", "1500.05")
    eventually(lambda: shows(page, page.url, page.get_by_text("1,500.05")), 20)
    page.get_by_label("New stop-loss").fill("1501")
    page.get_by_role("button", name="Move the stop").click()
    expect(
        page.get_by_text("NSE:INFY trades at 1500.05, already at or below the stop 1501.00")
    ).to_be_visible()
    page.get_by_label("New stop-loss").fill("1495")
    page.get_by_role("button", name="Move the stop").click()
    expect(page.get_by_text("is 1495.00 now")).to_be_visible()

    eventually(lambda: control.subscriptions(CLIENT).get("NSE:INFY") == "full", 20)
    control.set_price("NSE:INFY", "1494.5")
    eventually(lambda: [order["filled"] for order in control.ledger()] == [10], 30)
    # The broker knows of a fill before we do, and the table below the steps has a column "Filled".
    story = page.locator(".story .steps")
    eventually(lambda: shows(page, at_home, story.get_by_text("Done", exact=True)), 30)
    for words in ("Tick received", "1,494.50 is below the stop of 1,495.00", "Permit", "Request", "Filled"):
        expect(story).to_contain_text(words)
    guest.look()
    with page.expect_download() as download:
        page.get_by_role("link", name="Everything as JSON").click()
    download.value.save_as(tmp_path / "export.json")
    exported = json.loads((tmp_path / "export.json").read_text())
    assert exported["exits"][0]["evidence"]["source"] == "tick"
    assert exported["exits"][0]["slippage"]["stop"] == "1495"
    assert guest.complaints == []

    phone = Newcomer(chromium, root, PHONE)
    phone.log_in(user.username)
    account = exported["account"]["id"]
    for path in (
        "/start/", "/brokers/new/", f"/brokers/{account}/", f"/brokers/{account}/edit/", "/strategies/new/",
        at_home.removeprefix(root), at_home.removeprefix(root) + "edit/", at_home.removeprefix(root) + "stop-price/",
        "/alerts/channels/",
    ):  # fmt: skip
        phone.page.goto(root + path)
        phone.look()
    assert phone.complaints == []
