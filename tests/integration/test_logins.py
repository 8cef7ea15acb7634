"""Logging in at each broker through our pages, the simulator being the broker."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from marketdata.brokers import registry
from marketdata.brokers.dhan.simulated.auth import totp
from marketdata.brokers.dhan.simulated.demo import DHAN_PIN, DHAN_TOTP_SECRET
from marketdata.clock import SystemClock
from marketdata.models import BrokerAccount, Listener, ListenerEvent
from marketdata.simulator.control import SimulatorControl
from tests.support.logins import at_the_broker, through_the_browser, told
from tests.support.simulator import RunningSimulator, start_simulator

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]
_numbers = count(1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    with start_simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def control(running: RunningSimulator) -> Iterator[SimulatorControl]:
    yield running.control
    running.control.clear_faults()


@pytest.fixture(autouse=True)
def endpoints(running: RunningSimulator, settings: Settings) -> None:
    settings.BROKER_ENDPOINTS = {
        name: {role: running.env[endpoint.variable] for role, endpoint in registry.endpoints(name).items()}
        for name in registry.BROKERS
    }


def new_account(user: User, control: SimulatorControl, broker: str, **changes: str) -> BrokerAccount:
    """An account whose stored token is an old one."""
    client_id = f"LG{next(_numbers):04d}"
    callback = f"http://testserver/brokers/{broker}/callback/"
    made = control.create_account(client_id, redirect_url=callback)
    values = {"client_id": client_id, "api_key": made["api_key"], "api_secret": made["api_secret"], **changes}
    return BrokerAccount.objects.create(
        user=user, broker=broker, name="Mine", access_token="an-old-token-1", generation=7, **values
    )


@pytest.fixture(params=registry.BROKERS)
def account(request: pytest.FixtureRequest, user: User, control: SimulatorControl) -> BrokerAccount:
    return new_account(user, control, request.param)


@pytest.fixture
def kite(user: User, control: SimulatorControl) -> BrokerAccount:
    return new_account(user, control, "zerodha")


@pytest.fixture
def dhan(user: User, control: SimulatorControl) -> BrokerAccount:
    return new_account(user, control, "dhan")


@pytest.fixture
def owner(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


@pytest.fixture
def stranger(user: User) -> Client:
    client = Client()
    client.force_login(User.objects.create_user("stranger", "", "a-password-for-tests"))
    return client


def token(row: BrokerAccount) -> str:
    row.refresh_from_db()
    return row.access_token.reveal()


def one_time_code() -> str:
    return totp(DHAN_TOTP_SECRET, SystemClock().time())


def with_answer(address: str, **changes: str) -> str:
    parts = urlsplit(address)
    return f"{parts.path}?{urlencode({**dict(parse_qsl(parts.query)), **changes})}"


# --- on the broker's own page -------------------------------------------------------------


def test_a_login_on_the_broker_s_page_is_checked_and_stored(
    owner: Client, account: BrokerAccount, user: User
) -> None:
    said = told(owner, through_the_browser(owner, account.pk))

    assert said.startswith(f"Logged in as {account.client_id} until ")
    assert token(account) != "an-old-token-1"
    assert account.generation == 7
    assert account.token_expires_at is not None
    assert timedelta() < account.token_expires_at - timezone.now() <= timedelta(hours=24)
    [event] = ListenerEvent.objects.filter(account=account)
    assert (event.kind, event.detail["by"]) == ("logged_in", user.username)
    assert "accepts the login" in told(owner, f"/brokers/{account.pk}/check/", {})


def test_kite_s_login_ends_at_six_in_the_morning(owner: Client, kite: BrokerAccount) -> None:
    told(owner, through_the_browser(owner, kite.pk))

    kite.refresh_from_db()
    assert f"{timezone.localtime(kite.token_expires_at):%H:%M:%S}" == "06:00:00"
    assert "until 06:00 IST" in owner.get(f"/brokers/{kite.pk}/").content.decode()


def test_the_only_way_needs_no_page_in_between(owner: Client, kite: BrokerAccount) -> None:
    answer = owner.get(f"/brokers/{kite.pk}/login/")

    parts = urlsplit(answer.headers["Location"])
    query = dict(parse_qsl(parts.query))
    assert (answer.status_code, parts.path) == (302, "/connect/login")
    assert (query["v"], query["api_key"]) == ("3", kite.api_key)
    assert answer.headers["Cache-Control"].startswith("max-age=0, no-cache, no-store")


def test_a_broker_with_more_ways_shows_them_all(owner: Client, dhan: BrokerAccount) -> None:
    page = owner.get(f"/brokers/{dhan.pk}/login/", follow=True).content.decode()

    assert all(way in page for way in ("Log in at Dhan", "Paste a token", "PIN and one-time code"))


def test_an_answer_is_good_once(owner: Client, account: BrokerAccount) -> None:
    callback = through_the_browser(owner, account.pk)
    told(owner, callback)
    first = token(account)

    assert "was used already" in told(owner, callback)
    assert token(account) == first


def test_an_answer_is_good_in_the_browser_that_asked_only(
    owner: Client, stranger: Client, account: BrokerAccount, control: SimulatorControl
) -> None:
    other = new_account(User.objects.get(username="stranger"), control, account.broker)
    callback = through_the_browser(owner, account.pk)

    assert "not begun here" in told(stranger, callback)
    assert (token(account), token(other)) == ("an-old-token-1", "an-old-token-1")


def test_an_answer_to_one_account_never_logs_another_in(
    owner: Client, kite: BrokerAccount, user: User, control: SimulatorControl
) -> None:
    other = new_account(user, control, "zerodha", client_id="")  # would take any login
    callback = through_the_browser(owner, kite.pk)
    owner.get(f"/brokers/{other.pk}/login/")

    assert "not begun here" in told(owner, callback)
    assert (token(kite), token(other)) == ("an-old-token-1", "an-old-token-1")


def test_an_answer_of_the_other_broker_is_none(
    owner: Client, kite: BrokerAccount, dhan: BrokerAccount
) -> None:
    callback = through_the_browser(owner, kite.pk)

    assert "not begun here" in told(owner, callback.replace("zerodha", "dhan"))
    assert "not begun here" in told(owner, callback.replace("zerodha", "nobody"))
    assert token(dhan) == "an-old-token-1"


def test_an_answer_that_comes_late_is_none(
    owner: Client, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = through_the_browser(owner, account.pk)
    late = timezone.now() + timedelta(minutes=16)
    monkeypatch.setattr(timezone, "now", lambda: late)

    assert "took too long" in told(owner, callback)
    assert token(account) == "an-old-token-1"


def test_signed_out_meanwhile_the_answer_goes_into_no_address_of_ours(
    owner: Client, client: Client, account: BrokerAccount
) -> None:
    callback = through_the_browser(owner, account.pk)
    owner.logout()

    answer = client.get(callback)
    assert answer.headers["Location"] == "/accounts/login/"
    assert "sign in, then log in at the broker again" in client.get("/accounts/login/").content.decode()
    assert token(account) == "an-old-token-1"


def test_the_broker_s_refusal_is_told_in_its_words(
    owner: Client, account: BrokerAccount, caplog: pytest.LogCaptureFixture
) -> None:
    field = "request_token" if account.broker == "zerodha" else "tokenId"
    callback = with_answer(through_the_browser(owner, account.pk), **{field: "made-up-canary-77"})

    said = told(owner, callback)
    assert ("Token is invalid or has expired" in said) or ("Invalid Token ID" in said)
    assert "canary" not in said + caplog.text
    assert token(account) == "an-old-token-1"


def test_a_login_that_was_not_completed_changes_nothing(owner: Client, account: BrokerAccount) -> None:
    through_the_browser(owner, account.pk)
    state = owner.session[f"broker-login:{account.broker}"]["state"]

    said = told(owner, f"/brokers/{account.broker}/callback/?status=cancelled&state={state}")
    assert "did not complete the login" in said
    assert token(account) == "an-old-token-1"


def test_a_wrong_secret_is_told(owner: Client, account: BrokerAccount) -> None:
    BrokerAccount.objects.filter(pk=account.pk).update(api_secret="another-secret-9")
    if account.broker == "zerodha":
        said = told(owner, through_the_browser(owner, account.pk))
        assert "Invalid `checksum`" in said
    else:
        said = told(owner, f"/brokers/{account.pk}/login/?browser")
        assert "DH-901" in said
    assert "another-secret-9" not in said
    assert token(account) == "an-old-token-1"


def test_without_an_app_the_page_says_what_to_enter(owner: Client, account: BrokerAccount) -> None:
    BrokerAccount.objects.filter(pk=account.pk).update(api_key="", api_secret="")

    assert "no API key" in told(owner, f"/brokers/{account.pk}/login/?browser")
    assert "API key and secret first" in owner.get(f"/brokers/{account.pk}/").content.decode()


@pytest.mark.parametrize("name", ["refuse", "server_error", "html", "rate_limited"])
def test_a_broker_in_trouble_costs_nothing_but_the_login(
    owner: Client, account: BrokerAccount, control: SimulatorControl, name: str
) -> None:
    callback = through_the_browser(owner, account.pk)
    control.fault(name, operation="api" if name == "refuse" else "profile", seconds=20)
    if name == "refuse":  # the connections of before are still open
        control.fault("refuse", operation="login", seconds=20)

    said = told(owner, callback)
    assert "nothing was changed" in said
    assert token(account) == "an-old-token-1"


def test_the_login_of_another_client_is_refused(owner: Client, kite: BrokerAccount) -> None:
    BrokerAccount.objects.filter(pk=kite.pk).update(client_id="ZZ9999")

    said = told(owner, through_the_browser(owner, kite.pk))
    assert f"belongs to {kite.client_id}, this account to ZZ9999" in said
    assert token(kite) == "an-old-token-1"


def test_an_empty_client_id_is_taken_from_the_first_login(owner: Client, kite: BrokerAccount) -> None:
    known = kite.client_id
    BrokerAccount.objects.filter(pk=kite.pk).update(client_id="")

    told(owner, through_the_browser(owner, kite.pk))
    kite.refresh_from_db()
    assert kite.client_id == known


def test_another_site_cannot_send_a_person_off_to_the_broker(owner: Client, kite: BrokerAccount) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Purpose": "prefetch"}):
        answer = owner.get(f"/brokers/{kite.pk}/login/", headers=headers)
        assert answer.headers["Location"] == f"/brokers/{kite.pk}/"
    assert "broker-login:zerodha" not in owner.session


# --- typed --------------------------------------------------------------------------------


def test_a_pasted_token_is_checked_and_stored(
    owner: Client, dhan: BrokerAccount, control: SimulatorControl
) -> None:
    BrokerAccount.objects.filter(pk=dhan.pk).update(client_id="", api_key="", api_secret="")
    fresh = control.mint_token(dhan.client_id)

    said = told(owner, f"/brokers/{dhan.pk}/login/", {"way": "token", "token": f" {fresh}\n"})
    assert said.startswith(f"Logged in as {dhan.client_id} until ")
    assert token(dhan) == fresh
    assert dhan.token_expires_at is not None
    left = dhan.token_expires_at - timezone.now()
    assert timedelta(hours=23) < left <= timedelta(hours=24)


def test_a_pasted_token_of_another_client_is_refused(
    owner: Client, dhan: BrokerAccount, user: User, control: SimulatorControl
) -> None:
    other = new_account(user, control, "dhan")
    foreign = control.mint_token(other.client_id)

    told(owner, f"/brokers/{dhan.pk}/login/", {"way": "token", "token": foreign})
    assert token(dhan) == "an-old-token-1"


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "Access token is empty"),
        ("never-issued-canary-1", "DH-901"),
        ("two words-canary-2", "not a token of Dhan"),
        ("ünïcode-canary-3", "not a token of Dhan"),
    ],
)
def test_what_is_no_token_is_refused_in_words(
    owner: Client, dhan: BrokerAccount, typed: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = owner.post(f"/brokers/{dhan.pk}/login/", {"way": "token", "token": typed}, follow=True)

    assert words in " ".join(map(str, answer.context["messages"]))
    assert "canary" not in answer.content.decode() + caplog.text
    assert token(dhan) == "an-old-token-1"


def test_a_pin_and_a_code_make_a_token(owner: Client, dhan: BrokerAccount) -> None:
    typed = {"way": "pin", "pin": DHAN_PIN, "totp": one_time_code()}

    assert told(owner, f"/brokers/{dhan.pk}/login/", typed).startswith("Logged in as ")
    assert token(dhan) != "an-old-token-1"


@pytest.mark.parametrize(
    ("pin", "code", "words"),
    [
        ("654321", None, "Invalid Pin"),
        (DHAN_PIN, "000000", "Invalid TOTP"),
        ("12", None, "PIN: expected 6 digits"),
        (DHAN_PIN, "12345x", "One-time code: expected 6 digits"),
        (DHAN_PIN, "", "One-time code is empty"),
    ],
)
def test_a_wrong_pin_or_code_is_told_in_the_broker_s_words(
    owner: Client, dhan: BrokerAccount, pin: str, code: str | None, words: str
) -> None:
    typed = {"way": "pin", "pin": pin, "totp": one_time_code() if code is None else code}

    said = told(owner, f"/brokers/{dhan.pk}/login/", typed)
    assert words in said
    assert token(dhan) == "an-old-token-1"


def test_a_pin_reaches_no_log_when_the_broker_is_not_reached(
    owner: Client, dhan: BrokerAccount, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = {**settings.BROKER_ENDPOINTS["dhan"], "auth": "http://127.0.0.1:9"}
    settings.BROKER_ENDPOINTS = {**settings.BROKER_ENDPOINTS, "dhan": nowhere}
    caplog.set_level(logging.DEBUG)

    said = told(owner, f"/brokers/{dhan.pk}/login/", {"way": "pin", "pin": "918273", "totp": "456456"})
    assert "could not be asked" in said
    assert "918273" not in said + caplog.text
    assert "456456" not in said + caplog.text


@pytest.mark.parametrize("way", ["", "nonsense"])
def test_a_way_that_does_not_exist_is_refused(owner: Client, account: BrokerAccount, way: str) -> None:
    assert "not a way to log in" in told(owner, f"/brokers/{account.pk}/login/", {"way": way})


# --- the page -----------------------------------------------------------------------------


def test_a_dead_token_counts_as_expired_once_it_was_checked(
    owner: Client, account: BrokerAccount, control: SimulatorControl
) -> None:
    assert "does not accept this login" in told(owner, f"/brokers/{account.pk}/check/", {})

    account.refresh_from_db()
    assert account.token_expires_at is not None
    assert account.token_expires_at <= timezone.now()
    assert "Login expired at" in owner.get(f"/brokers/{account.pk}/").content.decode()


def test_a_check_that_failed_says_nothing_about_the_token(
    owner: Client, account: BrokerAccount, control: SimulatorControl
) -> None:
    fresh = control.mint_token(account.client_id)
    BrokerAccount.objects.filter(pk=account.pk).update(access_token=fresh)
    control.fault("server_error", operation="profile", seconds=20)

    assert "could not be asked" in told(owner, f"/brokers/{account.pk}/check/", {})
    account.refresh_from_db()
    assert account.token_expires_at is None


def test_the_page_belongs_to_the_owner(stranger: Client, account: BrokerAccount) -> None:
    base = f"/brokers/{account.pk}"
    assert stranger.get(f"{base}/").status_code == 404
    assert stranger.get(f"{base}/login/?browser").status_code == 404
    assert stranger.post(f"{base}/login/", {"way": "token", "token": "x"}).status_code == 404
    assert stranger.post(f"{base}/check/").status_code == 404
    for address in ("/", "/login/", "/check/"):
        assert Client().get(base + address).headers["Location"].startswith("/accounts/login/")


def test_nothing_is_done_by_get_or_without_a_token_of_the_form(user: User, account: BrokerAccount) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    for address in (f"/brokers/{account.pk}/login/", f"/brokers/{account.pk}/check/"):
        assert client.post(address, {"way": "token", "token": "x"}).status_code == 403
    assert client.get(f"/brokers/{account.pk}/check/").status_code == 405
    assert client.post(f"/brokers/{account.broker}/callback/").status_code == 403


def test_no_secret_is_on_any_page_or_in_any_log(
    owner: Client, account: BrokerAccount, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    callback = through_the_browser(owner, account.pk)
    pages = owner.get(callback, follow=True).content.decode()
    for address in (f"/brokers/{account.pk}/", "/"):
        pages += owner.get(address).content.decode()

    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("marketdata"))
    given = [value for value in dict(parse_qsl(urlsplit(callback).query)).values() if len(value) > 10]
    for secret in (*given, token(account), account.api_secret.reveal()):
        assert secret not in pages
        assert secret not in ours


def test_after_a_login_the_listener_s_old_complaint_is_over(owner: Client, account: BrokerAccount) -> None:
    listener = Listener.objects.create(account=account, state="login_needed", reported_at=timezone.now())
    assert "log in again" in owner.get(f"/brokers/{account.pk}/").content.decode()

    told(owner, through_the_browser(owner, account.pk))
    assert "log in again" not in owner.get(f"/brokers/{account.pk}/").content.decode()

    Listener.objects.filter(pk=listener.pk).update(reported_at=timezone.now() + timedelta(seconds=2))
    assert "log in again" in owner.get(f"/brokers/{account.pk}/").content.decode()


def test_the_live_page_leads_to_the_login(owner: Client, account: BrokerAccount) -> None:
    link = f'href="/brokers/{account.pk}/login/"'
    account.token_expires_at = datetime(2026, 1, 5, 0, 30, tzinfo=UTC)
    account.save()
    page = owner.get("/").content.decode()
    assert "Login expired at 06:00 IST, 5 Jan" in page
    assert link in page

    told(owner, through_the_browser(owner, account.pk))
    page = owner.get("/").content.decode()
    assert "Logged in until" in page
    assert 'data-cell="again" hidden' in page


def test_the_admin_checks_logins_and_leads_to_one_s_own(
    admin_client: Client, admin_user: User, account: BrokerAccount, control: SimulatorControl
) -> None:
    own = new_account(admin_user, control, account.broker)
    BrokerAccount.objects.filter(pk=own.pk).update(access_token=control.mint_token(own.client_id))
    listing = "/admin/marketdata/brokeraccount/"
    page = admin_client.get(listing).content.decode()
    assert f'href="/brokers/{own.pk}/"' in page
    assert f'href="/brokers/{account.pk}/"' not in page
    assert "only trader can" in admin_client.get(f"{listing}{account.pk}/change/").content.decode()

    chosen = {"action": "check_logins", "_selected_action": [str(own.pk), str(account.pk)]}
    answer = admin_client.post(listing, chosen, follow=True)
    said = [str(message) for message in answer.context["messages"]]
    assert any("Logged in until" in line for line in said)
    assert any("does not accept this login" in line for line in said)


def test_at_the_broker_a_login_page_of_nobody_is_refused(kite: BrokerAccount, settings: Settings) -> None:
    with pytest.raises(AssertionError, match="Invalid `api_key`"):
        at_the_broker(f"{settings.BROKER_ENDPOINTS['zerodha']['login']}?v=3&api_key=nobody")
