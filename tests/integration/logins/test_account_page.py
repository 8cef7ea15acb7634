"""What the pages say of a login, and to whom."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from marketdata.domain.sessions import Calendar
from marketdata.models import BrokerAccount, Instrument, Listener, Subscription
from marketdata.simulator.control import SimulatorControl
from strategies.live.state import one_strategy
from strategies.models import Strategy
from strategies.protection import protection
from tests.support.logins import (
    at_the_broker,
    new_account,
    through_the_browser,
    token,
    told,
)

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


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


def test_a_token_typed_in_the_admin_has_no_known_end(admin_client: Client, kite: BrokerAccount) -> None:
    known = datetime(2026, 1, 5, 0, 30, tzinfo=UTC)
    BrokerAccount.objects.filter(pk=kite.pk).update(token_expires_at=known)
    kept = {
        "user": kite.user_id, "broker": "zerodha", "name": "Mine", "client_id": kite.client_id,
        "api_key": kite.api_key, "desired_state": "stopped",
        "token_expires_at_0": "2026-01-05", "token_expires_at_1": "06:00:00",
    }  # fmt: skip
    address = f"/admin/marketdata/brokeraccount/{kite.pk}/change/"

    assert admin_client.post(address, {**kept, "name": "Renamed"}).status_code == 302
    kite.refresh_from_db()
    assert (kite.name, kite.token_expires_at) == ("Renamed", known)
    assert admin_client.post(address, {**kept, "access_token": "typed-token-1"}).status_code == 302
    assert (token(kite), kite.token_expires_at) == ("typed-token-1", None)


def test_no_stop_counts_as_protected_with_an_expired_login(
    account: BrokerAccount, instruments: Mapping[str, Instrument]
) -> None:
    now = timezone.now()
    BrokerAccount.objects.filter(pk=account.pk).update(desired_state="running")
    Listener.objects.create(account=account, state="connected", reported_at=now, last_tick_at=now)
    strategy = Strategy.objects.create(
        user=account.user, account=account, instrument=instruments["NSE:INFY"], position="BOUGHT", quantity=1,
        stop_loss=1490, status="active",
    )  # fmt: skip
    Subscription.objects.create(account=account, instrument=strategy.instrument, holder="strategy:1")

    def reasons() -> list[str]:
        found = protection(account.user_id, now, Calendar(always=True))
        return [row.reason for row in found.unprotected]

    assert reasons() == []
    BrokerAccount.objects.filter(pk=account.pk).update(token_expires_at=now)
    assert reasons() == [f"log in again at the broker of {account}"]
    row = one_strategy(account.user_id, strategy.pk, now)
    assert row is not None
    assert row["state"] == "Armed, not watched"


def test_in_production_the_redirect_url_has_tls(
    owner: Client, account: BrokerAccount, settings: Settings
) -> None:
    settings.SESSION_COOKIE_SECURE = True
    page = owner.get(f"/brokers/{account.pk}/", secure=True).content.decode()
    assert f"https://testserver/brokers/{account.broker}/callback/" in page


def test_at_the_broker_a_login_page_of_nobody_is_refused(kite: BrokerAccount, settings: Settings) -> None:
    with pytest.raises(AssertionError, match="Invalid `api_key`"):
        at_the_broker(f"{settings.BROKER_ENDPOINTS['zerodha']['login']}?v=3&api_key=nobody")
