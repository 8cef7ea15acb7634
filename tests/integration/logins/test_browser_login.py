"""Logging in on the broker's own page, the simulator being the broker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from marketdata.brokers.zerodha.login import KiteLogin
from marketdata.domain.errors import BrokerRejected
from marketdata.models import BrokerAccount, ListenerEvent
from marketdata.ports import BrokerConfig
from marketdata.secret import MASK, Secret
from marketdata.simulator.control import SimulatorControl
from tests.support.logins import (
    OLD,
    new_account,
    through_the_browser,
    token,
    told,
    with_answer,
)

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


def test_a_login_on_the_broker_s_page_is_checked_and_stored(
    owner: Client, account: BrokerAccount, user: User
) -> None:
    said = told(owner, through_the_browser(owner, account.pk))

    assert said.startswith(f"Logged in as {account.client_id} until ")
    assert token(account) != OLD
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
    assert (token(account), token(other)) == (OLD, OLD)


def test_an_answer_to_one_account_never_logs_another_in(
    owner: Client, kite: BrokerAccount, user: User, control: SimulatorControl
) -> None:
    other = new_account(user, control, "zerodha", client_id="")  # would take any login
    callback = through_the_browser(owner, kite.pk)
    owner.get(f"/brokers/{other.pk}/login/")

    assert "not begun here" in told(owner, callback)
    assert (token(kite), token(other)) == (OLD, OLD)


def test_an_answer_of_the_other_broker_is_none(
    owner: Client, kite: BrokerAccount, dhan: BrokerAccount
) -> None:
    callback = through_the_browser(owner, kite.pk)

    assert "not begun here" in told(owner, callback.replace("zerodha", "dhan"))
    assert "not begun here" in told(owner, callback.replace("zerodha", "nobody"))
    assert token(dhan) == OLD


def test_an_answer_that_comes_late_is_none(
    owner: Client, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = through_the_browser(owner, account.pk)
    late = timezone.now() + timedelta(minutes=16)
    monkeypatch.setattr(timezone, "now", lambda: late)

    assert "took too long" in told(owner, callback)
    assert token(account) == OLD


def test_signed_out_meanwhile_the_answer_goes_into_no_address_of_ours(
    owner: Client, client: Client, account: BrokerAccount
) -> None:
    callback = through_the_browser(owner, account.pk)
    owner.logout()

    answer = client.get(callback)
    assert answer.headers["Location"] == "/accounts/login/"
    assert "sign in, then log in at the broker again" in client.get("/accounts/login/").content.decode()
    assert token(account) == OLD


def test_the_broker_s_refusal_is_told_in_its_words(
    owner: Client, account: BrokerAccount, caplog: pytest.LogCaptureFixture
) -> None:
    field = "request_token" if account.broker == "zerodha" else "tokenId"
    callback = with_answer(through_the_browser(owner, account.pk), **{field: "made-up-canary-77"})

    said = told(owner, callback)
    assert ("Token is invalid or has expired" in said) or ("Invalid Token ID" in said)
    assert "canary" not in said + caplog.text
    assert token(account) == OLD


def test_a_broker_that_quotes_secrets_is_not_quoted(
    owner: Client, kite: BrokerAccount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def quoting(self: KiteLogin, config: BrokerConfig, answer: Mapping[str, str]) -> Secret:
        raise BrokerRejected(f"no session for {answer['request_token']} and {config.api_secret.reveal()}")

    callback = through_the_browser(owner, kite.pk)
    monkeypatch.setattr(KiteLogin, "exchange", quoting)

    said = told(owner, callback)
    assert said == f"Not logged in: no session for {MASK} and {MASK}."
    assert dict(parse_qsl(urlsplit(callback).query))["request_token"] not in caplog.text


def test_a_login_that_was_not_completed_changes_nothing(owner: Client, account: BrokerAccount) -> None:
    through_the_browser(owner, account.pk)
    state = owner.session[f"broker-login:{account.broker}"]["state"]

    said = told(owner, f"/brokers/{account.broker}/callback/?status=cancelled&state={state}")
    assert "did not complete the login" in said
    assert token(account) == OLD


def test_a_wrong_secret_is_told(owner: Client, account: BrokerAccount) -> None:
    BrokerAccount.objects.filter(pk=account.pk).update(api_secret="another-secret-9")
    if account.broker == "zerodha":
        said = told(owner, through_the_browser(owner, account.pk))
        assert "Invalid `checksum`" in said
    else:
        said = told(owner, f"/brokers/{account.pk}/login/?browser")
        assert "DH-901" in said
    assert "another-secret-9" not in said
    assert token(account) == OLD


def test_without_an_app_the_page_says_what_to_enter(owner: Client, account: BrokerAccount) -> None:
    BrokerAccount.objects.filter(pk=account.pk).update(api_key="", api_secret="")

    assert "no API key" in told(owner, f"/brokers/{account.pk}/login/?browser")
    assert (
        "Enter the app's API key and secret</a> first"
        in owner.get(f"/brokers/{account.pk}/").content.decode()
    )


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
    assert token(account) == OLD


def test_the_login_of_another_client_is_refused(owner: Client, kite: BrokerAccount) -> None:
    BrokerAccount.objects.filter(pk=kite.pk).update(client_id="ZZ9999")

    said = told(owner, through_the_browser(owner, kite.pk))
    assert f"belongs to {kite.client_id}, this account to ZZ9999" in said
    assert token(kite) == OLD


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
