"""A member of the staff sees and does what their permissions say, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from marketdata.models import BrokerAccount, Instrument
from strategies import services
from strategies.models import Strategy
from tests.support.people import new_user

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]
Hire = Callable[..., Client]
WISHES = {"arm": "draft", "disarm": "active", "exit": "active"}


@pytest.fixture
def hire(db: None) -> Hire:
    def hired(*codenames: str) -> Client:
        name = "-".join(codenames) or "nothing"
        person = new_user(name[:150], is_staff=True)
        found = Permission.objects.filter(codename__in=codenames)
        assert {row.codename for row in found} == set(codenames)
        person.user_permissions.set(found)
        client = Client()
        client.force_login(person)
        return client

    return hired


@pytest.fixture
def strategy(user: User, account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    return Strategy.objects.create(
        user=user, account=account, instrument=instruments["NSE:INFY"], name="Infosys", position="BOUGHT",
        quantity=10, stop_loss=Decimal("1490.00"),
    )  # fmt: skip


def ask(client: Client, strategy: Strategy, wish: str) -> int:
    way = f"/admin/strategies/strategy/{strategy.pk}/{wish}/asked/"
    return client.post(way, {"confirmed": "yes"}).status_code


@pytest.mark.parametrize("wish", WISHES)
def test_each_wish_needs_its_own_permission(wish: str, hire: Hire, strategy: Strategy) -> None:
    if WISHES[wish] == "active":
        services.start_strategy(strategy)
    others = [f"{name}_strategy" for name in WISHES if name != wish]
    without = hire("view_strategy", "change_strategy", "add_strategy", "delete_strategy", *others)
    form = f"/admin/strategies/strategy/{strategy.pk}/change/"
    way = f"/admin/strategies/strategy/{strategy.pk}/{wish}/asked/"

    assert way not in without.get(form).content.decode()
    assert f'"{wish}_strategies"' not in without.get("/admin/strategies/strategy/").content.decode()
    assert without.get(way).status_code == 403
    assert ask(without, strategy, wish) == 403
    chosen = {"action": f"{wish}_strategies", "_selected_action": [strategy.pk], "confirmed": "yes"}
    without.post("/admin/strategies/strategy/", chosen)
    strategy.refresh_from_db()
    assert strategy.status == WISHES[wish]

    holder = hire("view_strategy", f"{wish}_strategy")
    page = holder.get(form).content.decode()
    assert way in page
    assert 'name="quantity"' not in page  # it may be seen, not changed
    assert f'"{wish}_strategies"' in holder.get("/admin/strategies/strategy/").content.decode()
    assert ask(holder, strategy, wish) == 302
    strategy.refresh_from_db()
    assert strategy.status != WISHES[wish]


def test_a_login_is_checked_by_whoever_may(hire: Hire, account: BrokerAccount) -> None:
    listing = "/admin/marketdata/brokeraccount/"
    for held, offered in (("change_brokeraccount", False), ("validate_token", True)):
        client = hire("view_brokeraccount", held)
        assert ("check_logins" in client.get(listing).content.decode()) is offered


def test_whoever_may_change_an_account_does_not_thereby_start_it(hire: Hire, user: User) -> None:
    changer = hire("view_brokeraccount", "add_brokeraccount", "change_brokeraccount", "view_user")
    typed = {"user": user.pk, "broker": "zerodha", "client_id": "AB1234", "desired_state": "running"}
    assert changer.post("/admin/marketdata/brokeraccount/add/", typed).status_code == 302
    assert BrokerAccount.objects.get(client_id="AB1234").desired_state == "stopped"


def test_without_any_permission_there_is_an_empty_site(hire: Hire, strategy: Strategy) -> None:
    nobody = hire()
    assert "Infosys" not in nobody.get("/admin/").content.decode()
    assert nobody.get(f"/admin/strategies/strategy/{strategy.pk}/change/").status_code == 403
    assert nobody.get(f"/admin/strategies/strategy/{strategy.pk}/history/").status_code == 403
    assert ask(nobody, strategy, "arm") == 403


def test_credentials_reach_no_page(hire: Hire, account: BrokerAccount, strategy: Strategy) -> None:
    client = hire("view_brokeraccount", "change_brokeraccount", "view_strategy", "view_listener")
    paths = (
        "", "marketdata/brokeraccount/", f"marketdata/brokeraccount/{account.pk}/change/",
        f"marketdata/brokeraccount/{account.pk}/history/", f"strategies/strategy/{strategy.pk}/change/",
        f"strategies/strategy/{strategy.pk}/history/", "strategies/strategy/",
    )  # fmt: skip
    secrets = (account.api_secret.reveal(), account.access_token.reveal())
    for path in paths:
        page = client.get(f"/admin/{path}")
        assert page.status_code == 200, path
        assert not any(secret in page.content.decode() for secret in secrets), path
