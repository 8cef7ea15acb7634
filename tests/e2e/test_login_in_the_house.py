"""A token dies in the middle of the day; its owner logs in on the page; nobody else notices."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect, sync_playwright

from marketdata.models import BrokerAccount, Instrument, Listener, ListenerEvent
from marketdata.simulator import accounts as simulated
from strategies.models import Strategy
from strategies.services import start_strategy
from tests.support.browser import CHROMIUM, FLAGS
from tests.support.house import House
from tests.support.stopwatch import Stopwatch
from tests.support.valkey import PrivateValkey
from tests.support.waiting import eventually

PASSWORD = "a-password-for-tests"
MINE, THEIRS = "NSE:INFY", "NSE:SBIN"

pytestmark = [
    pytest.mark.timeout(150),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A page of a browser of the test's own; any error in its console fails the test."""
    # Playwright leaves its event loop in this thread; the database is asked between its steps, never in one.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        page = browser.new_page()
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        browser.close()
    assert problems == []


class Heard:
    """What the listeners publish of one symbol: (when it arrived, UNIX s; price)."""

    def __init__(self) -> None:
        self.ticks: list[tuple[float, Decimal]] = []

    @property
    def prices(self) -> list[Decimal]:
        return [price for _, price in self.ticks]


@contextmanager
def hearing(valkey: PrivateValkey, *symbols: str) -> Iterator[Mapping[str, Heard]]:
    found = {f"prices:{symbol}": Heard() for symbol in symbols}
    with valkey.client() as client, client.pubsub() as subscription:
        subscription.subscribe(*found)
        for _ in found:  # each is confirmed: what is published from here on is heard
            assert subscription.get_message(timeout=10) is not None
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                message = subscription.get_message(timeout=0.2)
                if message is not None:
                    price = Decimal(json.loads(message["data"])["ltp"])
                    found[message["channel"]].ticks.append((time.time(), price))

        reader = threading.Thread(target=listen)
        reader.start()
        try:
            yield {symbol: found[f"prices:{symbol}"] for symbol in symbols}
        finally:
            ended.set()
            reader.join(5)


def armed(house: House, account: BrokerAccount, instrument: Instrument, price: str, stop: str) -> Strategy:
    house.simulator.control.set_price(instrument.symbol, price)
    house.simulator.control.set_position(account.client_id, instrument.symbol, "MIS", 10)
    strategy = Strategy.objects.create(
        user=account.user, account=account, instrument=instrument, name=f"Stop of {instrument.symbol}",
        position="BOUGHT", quantity=10, stop_loss=Decimal(stop),
    )  # fmt: skip
    return start_strategy(strategy)


def test_a_login_on_the_page_brings_the_feed_back_and_disturbs_nobody(
    house: House, account: BrokerAccount, instruments: Mapping[str, Instrument], page: Page
) -> None:
    control = house.simulator.control
    neighbour = User.objects.create_user("neighbour", "", PASSWORD)
    made = control.create_account("OTHER1")
    theirs = BrokerAccount.objects.create(
        user=neighbour, broker="zerodha", client_id="OTHER1", api_key=made["api_key"],
        api_secret=made["api_secret"], access_token=made["access_token"],
    )  # fmt: skip
    mine = armed(house, account, instruments[MINE], "1500", "1490")
    armed(house, theirs, instruments[THEIRS], "800", "700")
    house.listeners().wait_for("running")
    address = house.web()
    control.create_account(
        "DEMO01", api_key=simulated.DEMO_API_KEY, api_secret=simulated.DEMO_API_SECRET,
        access_token=simulated.DEMO_ACCESS_TOKEN, redirect_url=f"{address}/brokers/zerodha/callback/",
    )  # fmt: skip
    eventually(lambda: control.subscriptions() == {"DEMO01": {MINE: "full"}, "OTHER1": {THEIRS: "full"}}, 30)
    page.goto(address)
    page.fill("input[name=username]", account.user.get_username())
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    card = page.locator("[data-list=listeners] > *")
    expect(card.locator("[data-cell=connected]")).to_have_text("Connected")

    with hearing(house.valkey, MINE, THEIRS) as heard:
        before = control.counters()
        expected = [Decimal(801) + n for n in range(30)]
        control.play(THEIRS, expected, gap_s=0.5, wait=False)
        control.kill_token("DEMO01", drop=True)
        gone_at = time.time()

        eventually(lambda: Listener.objects.get(account=account).state == "login_needed", 30)
        expect(card.locator("[data-cell=state]")).to_have_text("Log in again")
        expect(card.locator("[data-cell=login]")).to_have_text("Login no longer accepted")
        row = page.locator("[data-list=strategies] > *")
        expect(row.locator("[data-cell=state]")).to_have_text("Armed, not watched")
        control.set_price(MINE, "1495")  # nobody hears it
        watch = Stopwatch(*house.pids())
        card.get_by_role("link", name="Log in again").click()
        page.wait_for_url(f"{address}/brokers/{account.pk}/")
        expect(page.locator(".flash")).to_contain_text("Logged in as DEMO01 until 06:00 IST")

        # The first packet of a new connection is the last known price: the feed is there.
        eventually(lambda: Decimal(1495) in heard[MINE].prices, 30)
        queued_s = watch.queued()
        eventually(lambda: heard[THEIRS].prices[-1:] == expected[-1:], 60)
        after = control.counters()

    saved = ListenerEvent.objects.get(account=account, kind="logged_in").at.timestamp()
    ticked = next(at for at, price in heard[MINE].ticks if price == Decimal(1495))
    assert 0 < ticked - saved < 2 + queued_s
    # Published five times a second: of two prices that came with one breath, the second.
    assert heard[THEIRS].prices == [price for price in expected if price in heard[THEIRS].prices]
    assert any(gone_at < at < saved for at, _ in heard[THEIRS].ticks), "theirs went on while mine was gone"
    gone = after["handshakes.refused"] - before.get("handshakes.refused", 0)
    assert 1 <= gone <= 3
    assert after["handshakes.accepted"] - before["handshakes.accepted"] == 1  # mine, once

    page.goto(address)
    expect(card.locator("[data-cell=login]")).to_contain_text("Logged in until 06:00 IST")
    control.set_price(
        MINE, "1496"
    )  # the only price so far is of fifteen seconds ago: too old to vouch for a feed
    expect(row.locator("[data-cell=state]")).to_have_text("Armed")
    control.set_price(MINE, "1489")
    eventually(lambda: Strategy.objects.get(pk=mine.pk).status == "closed", 30)
    assert [order["filled"] for order in control.ledger("DEMO01")] == [10]
    account.refresh_from_db()
    for process in house.processes:
        assert "request_token=" not in process.output
        assert account.access_token.reveal() not in process.output
