"""From a tick to a filled order to the words in a browser, through every real process."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect, sync_playwright

from marketdata.models import BrokerAccount, Instrument
from strategies.models import Strategy
from strategies.services import start_strategy
from tests.support.house import House
from tests.support.waiting import eventually

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
PASSWORD = "a-password-for-tests"

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture
def page() -> Iterator[Page]:
    """A page in a browser of the test's own; any error in its console fails the test."""
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *QUIET])
        page = browser.new_page()
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        browser.close()
    assert problems == []


@pytest.fixture
def armed(house: House, account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    """Ten shares bought, their stop at 1490, the price at 1500."""
    house.simulator.control.set_price("NSE:INFY", "1500")
    house.simulator.control.set_position(account.client_id, "NSE:INFY", "MIS", 10)
    strategy = Strategy.objects.create(
        user=account.user, account=account, instrument=instruments["NSE:INFY"], name="Infosys swing",
        position="BOUGHT", quantity=10, stop_loss=Decimal(1490),
    )  # fmt: skip
    return start_strategy(strategy)


def log_in(page: Page, address: str, name: str) -> None:
    page.goto(address)
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{address}/")


def test_a_tick_becomes_a_filled_order_on_the_page(
    house: House, user: User, armed: Strategy, page: Page
) -> None:
    control, name = house.simulator.control, user.username
    house.listeners().wait_for("running")
    address = house.web()
    eventually(lambda: control.subscriptions("DEMO01").get("NSE:INFY") == "full", 20)
    log_in(page, address, name)
    row = page.locator("[data-list=strategies] > *", has_text="Infosys swing")
    expect(row.locator("[data-cell=state]")).to_have_text("Armed")

    control.set_price("NSE:INFY", "1499.95")
    expect(row.locator("[data-cell=ltp]")).to_have_text("1,499.95")

    control.set_price("NSE:INFY", "1489.5")
    exits = page.locator("[data-list=exits]")
    expect(exits).to_contain_text("1,489.50")
    expect(exits.locator("[data-cell=state]")).to_have_text(re.compile("sold", re.IGNORECASE))
    [order] = control.ledger()
    assert (order["side"], order["filled"], order["product"]) == ("SELL", 10, "MIS")
