from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from pytest_django import Settings

from marketdata.models import BrokerAccount, Instrument, Subscription
from strategies import services
from strategies.live import entry
from strategies.models import Strategy, StrategyEvent
from tests.support.people import new_user

# Without collected files WhiteNoise serves from the apps, and says so.
pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]
Instruments = Mapping[str, Instrument]
JSON = {"Accept": "application/json"}
XSS = '<script>alert("x")</script>'


@pytest.fixture
def strategy(user: User, account: BrokerAccount, instruments: Instruments) -> Strategy:
    return Strategy.objects.create(
        user=user, account=account, instrument=instruments["NSE:INFY"], name="Infosys", position="BOUGHT",
        quantity=10, stop_loss=Decimal("1490.00"), entry_price=Decimal("1500.00"),
    )  # fmt: skip


@pytest.fixture
def stranger(client: Client) -> Client:
    client.force_login(new_user("stranger"))
    return client


@pytest.fixture
def trader(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def live_addresses() -> Iterator[tuple[str, bool]]:
    """Every address of the live page's own URLs with a strategy's id filled in, and whether it changes things."""
    for entry_ in get_resolver("strategies.live.urls").url_patterns:
        assert isinstance(entry_, URLPattern)
        address = str(entry_.pattern).replace("<int:pk>", "{pk}")
        yield (
            f"/{address}",
            address.endswith(
                (
                    "{pk}/start/",
                    "stop/",
                    "exit/",
                    "watch/",
                    "retry/",
                    "abandon/",
                    "acknowledge/",
                    "test/",
                    "delete/",
                    "lists/{pk}/",
                )
            ),
        )


ADDRESSES = list(live_addresses())
CHANGING = [address for address, changes in ADDRESSES if changes]


def test_every_page_asks_for_a_login(client: Client, strategy: Strategy) -> None:
    for address, changes in ADDRESSES:
        answer = (client.post if changes else client.get)(address.format(pk=strategy.pk))
        assert answer.status_code == 302, address
        assert answer.headers["Location"].startswith("/accounts/login/"), address


@pytest.mark.parametrize("address", [address for address, _ in ADDRESSES if "{pk}" in address])
def test_another_user_s_strategy_does_not_exist(address: str, stranger: Client, strategy: Strategy) -> None:
    url = address.format(pk=strategy.pk)

    assert {stranger.get(url).status_code, stranger.post(url, {"confirmed": "yes"}).status_code} <= {404, 405}
    strategy.refresh_from_db()
    assert strategy.status == "draft"


@pytest.mark.parametrize("address", CHANGING)
def test_nothing_changes_by_get_or_without_a_token(address: str, user: User, strategy: Strategy) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    url = address.format(pk=strategy.pk)

    assert client.get(url).status_code == 405
    refused = client.post(url, {"confirmed": "yes", "instruments": "NSE:SBIN"})
    assert refused.status_code == 403
    assert b"Please try again" in refused.content
    strategy.refresh_from_db()
    assert strategy.status == "draft"
    assert not Subscription.objects.exists()


def test_the_page_shows_the_user_s_rows_only(trader: Client, strategy: Strategy) -> None:
    page = trader.get("/").content.decode()
    assert "Infosys" in page
    assert "1,490.00" in page

    trader.force_login(new_user("stranger"))
    page = trader.get("/").content.decode()
    assert "Infosys" not in page
    assert "No strategies yet" in page


def test_the_policy_allows_no_inline_code_and_the_page_has_none(trader: Client, strategy: Strategy) -> None:
    for address in ("/", f"/strategies/{strategy.pk}/"):
        answer = trader.get(address)
        policy, page = answer.headers["Content-Security-Policy"], answer.content.decode()
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "style=" not in page
        assert "onclick" not in page
        assert page.count("<script") == page.count('<script type="module" src=')


def test_broker_text_is_shown_as_text(trader: Client, strategy: Strategy) -> None:
    strategy.name = XSS
    strategy.save()
    StrategyEvent.objects.create(
        strategy=strategy, at=timezone.now(), kind="order_rejected", detail={"message": XSS}
    )

    for address in ("/", f"/strategies/{strategy.pk}/"):
        page = trader.get(address).content.decode()
        assert XSS not in page
        assert "&lt;script&gt;" in page


def test_start_and_stop_from_the_page(trader: Client, strategy: Strategy) -> None:
    started = trader.post(f"/strategies/{strategy.pk}/start/", headers=JSON).json()
    assert started["ok"]
    assert started["row"]["can_stop"]
    assert started["row"]["detail"].startswith("The listeners are not running")

    stopped = trader.post(f"/strategies/{strategy.pk}/stop/", headers=JSON).json()
    assert stopped["row"]["state"] == "Stopped: the stop is off"


def test_without_scripts_the_buttons_lead_back_to_the_page(trader: Client, strategy: Strategy) -> None:
    page = trader.post(f"/strategies/{strategy.pk}/start/", follow=True).content.decode()

    assert "The stop is armed." in page
    assert "Armed, not watched" in page


def test_a_refusal_says_why_beside_the_row(trader: Client, strategy: Strategy) -> None:
    strategy.stop_loss = None
    strategy.save()

    answer = trader.post(f"/strategies/{strategy.pk}/start/", headers=JSON).json()
    assert not answer["ok"]
    assert "no stop-loss" in answer["text"]
    assert answer["row"]["status"] == "draft"


def test_what_may_cost_money_is_not_started_unasked(
    trader: Client, strategy: Strategy, settings: Settings
) -> None:
    settings.LIVE_TRADING, settings.SIMULATED_BROKERS = True, frozenset()
    BrokerAccount.objects.update(live=True)
    Strategy.objects.update(live=True)
    page = trader.get("/").content.decode()
    asked = trader.post(f"/strategies/{strategy.pk}/start/", headers=JSON).content.decode()

    assert "data-ask=" in page.split('data-act="start"')[1].split(">")[0]
    assert "LIVE" in asked
    strategy.refresh_from_db()
    assert strategy.status == "draft"
    assert trader.post(f"/strategies/{strategy.pk}/start/", {"confirmed": "yes"}, headers=JSON).json()["ok"]


def test_a_stop_that_the_price_has_passed_is_not_started(
    trader: Client, strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cached(symbol: str) -> object:
        return strategy.stop_loss

    strategy.refresh_from_db()
    monkeypatch.setattr(entry, "get_cached_ltp", cached)
    answer = trader.post(f"/strategies/{strategy.pk}/start/", headers=JSON).json()

    assert "already at or below the stop 1490" in answer["text"]
    strategy.refresh_from_db()
    assert strategy.status == "draft"


def test_exit_now_asks_once_more_and_makes_one_exit(trader: Client, user: User, strategy: Strategy) -> None:
    services.start_strategy(strategy, by=user)
    url = f"/strategies/{strategy.pk}/exit/"
    assert b"Exit now" in trader.post(url).content
    assert not strategy.exits.exists()

    answers = [trader.post(url, {"confirmed": "yes"}, headers=JSON).json()["ok"] for _ in range(3)]
    assert answers == [True, False, False]
    assert strategy.exits.count() == 1


@pytest.mark.parametrize(("decision", "state"), [("retry", "needs_human"), ("abandon", "aborted")])
def test_an_exit_that_waits_is_decided_on_after_one_more_question(
    trader: Client, user: User, strategy: Strategy, decision: str, state: str
) -> None:
    services.start_strategy(strategy, by=user)
    services.exit_now(strategy, by=user)
    row = strategy.exits.get()
    url = f"/exits/{row.pk}/{decision}/"
    assert "does not wait" in trader.post(url, {"confirmed": "yes"}, headers=JSON).json()["text"]

    strategy.exits.update(state="needs_human", concern="The broker refused the exit order.")
    assert b'data-act="retry"' in trader.get("/").content
    assert trader.post(url).context["title"].startswith(("Send the exit", "End the exit"))
    assert trader.post(url, {"confirmed": "yes"}, headers=JSON).json()["ok"]
    row.refresh_from_db()
    assert row.state == state
    assert (row.resumed_at is not None) == (decision == "retry")
    assert row.version == 1


def test_the_watch_form_adds_removes_and_explains(
    trader: Client, account: BrokerAccount, instruments: Instruments
) -> None:
    assert trader.post("/watch/", {"instruments": "nse:infy, NSE:SBIN"}, headers=JSON).json()["ok"]
    assert Subscription.objects.count() == 2
    assert (
        "NSE:INFY removed"
        in trader.post("/unwatch/", {"instrument": "NSE:INFY"}, headers=JSON).json()["text"]
    )
    assert Subscription.objects.count() == 1
    refused = trader.post("/watch/", {"instruments": "NSE:NOPE"}, headers=JSON).json()
    assert (refused["ok"], "NSE:NOPE" in refused["text"]) == (False, True)
    assert "such as NSE:INFY" in trader.post("/watch/", {"instruments": " , "}, headers=JSON).json()["text"]


def test_a_chart_is_drawn_of_own_instruments_only(
    trader: Client, account: BrokerAccount, instruments: Instruments
) -> None:
    assert trader.get("/chart/?symbol=NSE:INFY").status_code == 404
    trader.post("/watch/", {"instruments": "NSE:INFY"}, headers=JSON)
    assert trader.get("/chart/?symbol=NSE:INFY").json() == {"points": []}

    trader.force_login(new_user("stranger"))
    assert trader.get("/chart/?symbol=NSE:INFY").status_code == 404
    assert trader.get("/chart/").status_code == 404


def test_the_timeline_tells_the_story(trader: Client, user: User, strategy: Strategy) -> None:
    assert b"Nothing has happened yet" in trader.get(f"/strategies/{strategy.pk}/").content

    services.start_strategy(strategy, by=user)
    page = trader.get(f"/strategies/{strategy.pk}/").content.decode()
    assert "Started: the stop is armed: stop loss 1490.00" in page


def test_the_simulator_is_named_on_the_page(trader: Client, account: BrokerAccount) -> None:
    assert b"No money moves" in trader.get("/").content


def test_a_missing_page_and_a_wrong_password_are_told_in_words(client: Client, user: User) -> None:
    login = client.post("/accounts/login/", {"username": user.username, "password": "wrong"})
    assert b"do not match" in login.content

    client.force_login(user)
    missing = client.get("/strategies/999999/")
    assert (missing.status_code, b"Nothing here" in missing.content) == (404, True)


def test_logging_out_takes_a_post(trader: Client) -> None:
    assert trader.get("/accounts/logout/").status_code == 405
    assert trader.post("/accounts/logout/").status_code == 302
    assert trader.get("/").status_code == 302


def test_health_answers_without_a_login(client: Client) -> None:
    names = [entry_.name for entry_ in get_resolver().url_patterns if not isinstance(entry_, URLResolver)]
    assert {"healthz", "readyz", "health-websocket"} <= set(names)
    assert client.get("/healthz").status_code == 200
    assert "status" in client.get("/health/websocket").json()
