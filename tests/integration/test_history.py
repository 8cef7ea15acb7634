"""Who changed what: the services' writes are in the history, credentials are not."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from marketdata.listening import restart_listening, stop_listening
from marketdata.models import BrokerAccount, Instrument
from strategies import services
from strategies.live import watching
from strategies.models import Strategy

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


@pytest.fixture
def strategy(user: User, account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    return Strategy.objects.create(
        user=user, account=account, instrument=instruments["NSE:INFY"], name="Infosys", position="BOUGHT",
        quantity=10, stop_loss=Decimal("1490.00"),
    )  # fmt: skip


def told(row: Any, *fields: str) -> list[tuple[Any, ...]]:
    """Return who, why and some fields, oldest first, without the creation."""
    rows = row.history.order_by("pk")[1:]
    return [
        (str(one.history_user), one.history_change_reason, *(getattr(one, name) for name in fields))
        for one in rows
    ]


def test_what_the_services_write_is_told_with_who_did_it(user: User, strategy: Strategy) -> None:
    services.start_strategy(strategy, by=user)
    services.update_stop(strategy, Decimal("1480.00"), by=user)
    services.stop_strategy(strategy, by=user)
    services.start_strategy(strategy)
    services.exit_now(strategy, by=user)

    assert told(strategy, "status", "stop_loss") == [
        ("trader", "started", "active", Decimal("1490.00")),
        ("trader", "stop moved", "active", Decimal("1480.00")),
        ("trader", "stopped", "closed", Decimal("1480.00")),
        ("None", "started", "active", Decimal("1480.00")),
        ("trader", "exit asked", "exiting", Decimal("1480.00")),
    ]


def test_an_account_s_state_is_told_whatever_started_it(
    user: User, account: BrokerAccount, strategy: Strategy
) -> None:
    services.start_strategy(strategy, by=user)
    stop_listening([account.pk], by=user, even_watching=True)
    watching.watch(user.pk, ["NSE:SBIN"])
    restart_listening([account.pk], by="root (command)")

    assert told(account, "desired_state", "generation") == [
        ("trader", "Infosys started", "running", 0),
        ("trader", "stop asked", "stopped", 0),
        ("trader", "watch list", "running", 0),
        ("None", "restart asked, by root (command)", "running", 1),
    ]


def test_credentials_are_in_no_history(account: BrokerAccount, admin_client: Client) -> None:
    fields = {
        "user": account.user_id, "broker": "zerodha", "client_id": account.client_id, "api_key": "demokey",
        "api_secret": "planted-secret", "access_token": "planted-token",
    }  # fmt: skip
    path = f"/admin/marketdata/brokeraccount/{account.pk}/"
    assert admin_client.post(f"{path}change/", fields).status_code == 302

    names = {field.name for field in account.history.model._meta.get_fields()}
    assert not names & {"api_secret", "access_token"}
    assert told(account) == [("admin", "changed: api secret, access token")]
    page = admin_client.get(f"{path}history/").content.decode()
    assert "changed: api secret, access token" in page
    assert "planted" not in page
    version = account.history.latest().pk
    assert admin_client.get(f"{path}history/{version}/").status_code == 404


def test_the_admin_s_own_changes_are_told_as_they_were_stored(
    admin_client: Client, strategy: Strategy
) -> None:
    inlines = {"exits-TOTAL_FORMS": 0, "exits-INITIAL_FORMS": 0}
    typed = {
        "user": strategy.user_id, "account": strategy.account_id, "instrument": strategy.symbol,
        "name": "Renamed", "position": "BOUGHT", "product": "MIS", "quantity": 10, "stop_loss": "1485",
    }  # fmt: skip
    path = f"/admin/strategies/strategy/{strategy.pk}/"
    answer = admin_client.post(f"{path}change/", {**typed, **inlines})
    assert answer.status_code == 302, answer.content

    assert told(strategy, "name", "stop_loss") == [
        ("admin", "changed", "Renamed", Decimal("1490.00")),
        ("admin", "stop moved", "Renamed", Decimal("1485.00")),
    ]
    page = admin_client.get(f"{path}history/").content.decode()
    assert "stop moved" in page
    assert "IST" in page
