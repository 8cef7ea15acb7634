"""The API with every process for real: the documented client, and its pages in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.async_api import expect

from marketdata.models import BrokerAccount, Instrument
from project.api.tokens import issue
from tests.environment import ROOT
from tests.support.browser import CHROMIUM, DESKTOP, PHONE, browser, visitor
from tests.support.house import House
from tests.support.page import Web
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(180)
PASSWORD = "a-password-for-tests"


def documented_client() -> Callable[[str, str], Any]:
    """Return the class of ``docs/api.md``, as it stands there."""
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 30
    found: dict[str, Any] = {}
    exec(compile(code, "docs/api.md", "exec"), found)  # noqa: S102 - that is what is tested
    made: Callable[[str, str], Any] = found["Tickguard"]
    return made


def test_the_documented_client_protects_a_position(
    house: House, account: BrokerAccount, instruments: Mapping[str, Instrument]
) -> None:
    control, secret = house.simulator.control, issue(account.user, "robot", timezone.now())[1].reveal()
    control.set_price("NSE:INFY", "1500")
    control.set_position(account.client_id, "NSE:INFY", "MIS", 10)
    house.listeners().wait_for("running", 60)
    api = documented_client()(house.web(), secret)

    made = api.ask("POST", "/strategies", {
        "account": account.pk, "symbol": "NSE:INFY", "position": "BOUGHT", "product": "MIS", "quantity": 10,
        "stop_loss": "1490",
    })  # fmt: skip
    here = f"/strategies/{made['id']}"
    assert api.ask("POST", f"{here}/start")["status"] == "active"
    eventually(lambda: api.ask("GET", "/status")["protection"]["protected"] == 1, 30)
    control.set_price("NSE:INFY", "1500.05")  # the one before may be too old by now
    eventually(lambda: [row["price"] for row in api.ask("GET", "/quotes")["items"]] == ["1500.05"], 20)
    with pytest.raises(RuntimeError, match=r"trades at 1500\.05, already at or below the stop 1500\.05"):
        api.ask("POST", f"{here}/stop-price", {"stop_loss": "1500.05"})

    assert api.ask("POST", f"{here}/stop-price", {"stop_loss": "1495"})["stop_loss"] == "1495.00"
    eventually(lambda: api.ask("GET", "/status")["protection"]["protected"] == 1, 30)
    control.set_price("NSE:INFY", "1494.5")
    [left] = eventually(
        lambda: [row for row in api.ask("GET", f"/exits?strategy={made['id']}")["items"] if row["state"] == "done"], 40
    )  # fmt: skip
    assert (left["trigger_price"], left["filled"]) == ("1494.50", 10)
    assert left["sentence"].startswith("Filled: sold 10 @ ")
    assert [order["filled"] for order in control.ledger()] == [10]
    told = api.ask("GET", "/events")["items"]
    kinds = [event["kind"] for event in told]
    assert [kind for kind in kinds if kind in ("created", "started", "stop_moved", "sl_triggered", "exit_done")] == [
        "created", "started", "stop_moved", "sl_triggered", "exit_done",
    ]  # fmt: skip
    assert secret not in "".join(process.output for process in house.processes)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
async def test_its_pages_work_in_a_browser(user: User, web: Web) -> None:
    async with browser() as chromium:
        for size in (DESKTOP, PHONE):
            async with visitor(chromium, web.root, size=size, scheme="dark") as guest:
                await guest.log_in(user.username, PASSWORD)
                await guest.page.goto(f"{web.root}/api/docs")
                await guest.page.get_by_text("Move a strategy's stop").click()
                await expect(guest.page.get_by_role("cell", name="stop_loss").first).to_be_visible()
                await _is_sound(guest.page)

                await guest.page.get_by_role("link", name="Your tokens").click()
                await guest.page.get_by_label("What it is for").fill(f"robot {size[0]}")
                await guest.page.get_by_role("button", name="Make a token").click()
                await expect(guest.page.locator(".secret code")).to_have_text(re.compile(r"^tg_[\w-]{43}$"))
                await _is_sound(guest.page)
                await guest.page.get_by_role("button", name=f"Revoke robot {size[0]}").click()
                await expect(guest.page.get_by_text(f"robot {size[0]} was revoked")).to_be_visible()
                assert guest.complaints == []


async def _is_sound(page: Any) -> None:
    """Nothing scrolls sideways, and nothing keeps anybody from using it."""
    await page.wait_for_load_state()  # a click waits for the next page's beginning only
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    found = await Axe().run(page)
    serious = [rule for rule in found.response["violations"] if rule["impact"] in ("serious", "critical")]
    assert serious == []
