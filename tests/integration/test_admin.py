from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.sites import site
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from marketdata.models import BrokerAccount, Instrument, Listener, Subscription
from strategies import services
from strategies.alerts import commit_alert
from strategies.live.forms import StrategyForm
from strategies.models import Strategy
from tests.support.people import new_user

# Without collected files WhiteNoise serves from the apps, and says so.
pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]
Instruments = Mapping[str, Instrument]
READ_ONLY = {
    "Subscription", "WatchedInstrument", "AlertChannel",
    "InstrumentList", "ClosingPrice",
    "SeenRange", "Listener", "ListenerEvent", "Lease", "Worker", "Exit", "ExitOrder", "StrategyEvent", "Alert",
    "AlertDelivery",
}  # fmt: skip


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(new_user("root", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def typed(user: User, account: BrokerAccount, instruments: Instruments) -> dict[str, Any]:
    return {
        "user": user.pk, "account": account.pk, "instrument": instruments["NSE:INFY"].pk, "name": "Infosys",
        "position": "BOUGHT", "product": "MIS", "quantity": 10, "entry_price": "1500", "stop_loss": "1490.05",
    }  # fmt: skip


@pytest.fixture
def strategy(typed: dict[str, Any]) -> Strategy:
    form = StrategyForm(typed)
    assert form.is_valid(), form.errors
    return form.save()


def test_every_model_of_ours_is_there_and_its_list_opens(staff: Client, strategy: Strategy) -> None:
    models = [
        *apps.get_app_config("marketdata").get_models(),
        *apps.get_app_config("strategies").get_models(),
    ]
    for model in models:
        meta = model._meta
        if meta.model_name and meta.model_name.startswith("historical"):
            continue  # a row's history is reached from the row
        assert site.is_registered(model), model
        assert staff.get(f"/admin/{meta.app_label}/{meta.model_name}/").status_code == 200
        add = staff.get(f"/admin/{meta.app_label}/{meta.model_name}/add/").status_code
        assert add == (403 if model.__name__ in READ_ONLY else 200), model
        search = staff.get(f"/admin/{meta.app_label}/{meta.model_name}/?q=x").status_code
        assert search == 200, model


def test_credentials_are_never_shown_and_an_empty_box_keeps_them(
    staff: Client, account: BrokerAccount
) -> None:
    url = f"/admin/marketdata/brokeraccount/{account.pk}/change/"
    page = staff.get(url).content.decode()
    assert "demosecret" not in page
    assert "demotoken" not in page

    fields = {
        "user": account.user_id, "broker": "zerodha", "name": "Renamed", "client_id": "DEMO01",
        "api_key": "demokey", "api_secret": "", "access_token": "newtoken", "desired_state": "stopped",
    }  # fmt: skip
    answer = staff.post(url, fields)
    assert answer.status_code == 302, answer.content
    account.refresh_from_db()
    assert (account.name, account.api_secret.reveal(), account.access_token.reveal()) == (
        "Renamed",
        "demosecret",
        "newtoken",
    )


def act(staff: Client, model: str, action: str, pk: int, **fields: str) -> str:
    chosen = {"action": action, "_selected_action": [pk], **fields}
    return staff.post(f"/admin/{model}/", chosen, follow=True).content.decode()


def test_strategies_are_armed_and_disarmed_through_the_services_after_asking(
    staff: Client, strategy: Strategy
) -> None:
    asked = act(staff, "strategies/strategy", "arm_strategies", strategy.pk)
    assert "Arm the stop?" in asked
    assert "1490.05" in asked
    strategy.refresh_from_db()
    assert strategy.status == "draft"

    assert "1 armed" in act(staff, "strategies/strategy", "arm_strategies", strategy.pk, confirmed="yes")
    strategy.refresh_from_db()
    assert (strategy.status, strategy.epoch) == ("active", 1)
    assert Subscription.objects.get().holder == f"strategy:{strategy.pk}"

    assert "1 disarmed" in act(
        staff, "strategies/strategy", "disarm_strategies", strategy.pk, confirmed="yes"
    )
    again = act(staff, "strategies/strategy", "disarm_strategies", strategy.pk, confirmed="yes")
    assert "cannot be stopped" in again
    assert not Subscription.objects.exists()


def test_exit_now_asks_on_a_page_that_says_what_is_sold(staff: Client, strategy: Strategy) -> None:
    services.start_strategy(strategy)
    way = f"/admin/strategies/strategy/{strategy.pk}/exit/asked/"
    assert way in staff.get(f"/admin/strategies/strategy/{strategy.pk}/change/").content.decode()
    page = staff.get(way).content.decode()
    assert "cannot be called back" in page
    assert "Bought (long) 10 MIS" in page
    staff.post(way)
    assert not strategy.exits.exists()

    staff.post(way, {"confirmed": "yes"})
    staff.post(way, {"confirmed": "yes"})  # a second click finds it exiting
    assert strategy.exits.get().evidence == {"source": "manual", "by": "root"}
    assert staff.get(way.replace("exit/asked", "sell/asked")).status_code == 404


def test_a_copy_is_a_draft_that_sends_nothing(staff: Client, strategy: Strategy) -> None:
    services.start_strategy(strategy)
    Strategy.objects.filter(pk=strategy.pk).update(live=True)
    act(staff, "strategies/strategy", "copy_as_drafts", strategy.pk)
    copy = Strategy.objects.exclude(pk=strategy.pk).get()
    assert (copy.status, copy.live, copy.epoch, copy.name) == ("draft", False, 0, "Infosys copy")
    assert (copy.stop_loss, copy.quantity) == (Decimal("1490.05"), 10)


def test_alerts_are_acknowledged_and_their_deliveries_shown(staff: Client, strategy: Strategy) -> None:
    alert = commit_alert(
        user_id=strategy.user_id, kind="needs_human", text="look", at=timezone.now(), strategy_id=strategy.pk
    )
    assert alert is not None
    alert.deliveries.create(channel="apprise 1 (json)", attempts=2, error="the sink is closed")
    assert "the sink is closed" in staff.get(f"/admin/strategies/alert/{alert.pk}/change/").content.decode()

    assert "1 acknowledged" in act(staff, "strategies/alert", "acknowledge", alert.pk)
    assert "0 acknowledged" in act(staff, "strategies/alert", "acknowledge", alert.pk)
    alert.refresh_from_db()
    assert str(alert.acknowledged_by) == "root"


def test_listeners_are_started_restarted_and_stopped(staff: Client, account: BrokerAccount) -> None:
    assert "of Test will run within 2 seconds" in act(
        staff, "marketdata/brokeraccount", "start_listeners", account.pk
    )
    account.refresh_from_db()
    assert (account.desired_state, account.generation) == ("running", 0)

    listener = Listener.objects.create(account=account)
    assert "new connection" in act(staff, "marketdata/listener", "restart_listeners", listener.pk)
    account.refresh_from_db()
    assert (account.desired_state, account.generation) == ("running", 1)

    assert "will be stopped" in act(staff, "marketdata/listener", "stop_listeners", listener.pk)
    account.refresh_from_db()
    assert account.desired_state == "stopped"
    assert [(event.kind, event.detail) for event in account.events.order_by("pk")] == [
        (f"{wish}_asked", {"by": "root"}) for wish in ("start", "restart", "stop")
    ]


def test_stopping_what_watches_stops_is_asked_about_first(
    staff: Client, user: User, account: BrokerAccount, strategy: Strategy
) -> None:
    services.start_strategy(strategy, by=user)
    asked = act(staff, "marketdata/brokeraccount", "stop_listeners", account.pk)
    assert "1 strategy is watched through Test. While stopped, its stop cannot trigger" in asked
    account.refresh_from_db()
    assert account.desired_state == "running"

    chosen = {"action": "stop_listeners", "_selected_action": [account.pk], "confirmed": "yes"}
    staff.post("/admin/marketdata/brokeraccount/", chosen)
    account.refresh_from_db()
    assert account.desired_state == "stopped"


def test_the_form_of_an_account_leads_to_each_wish(
    staff: Client, user: User, account: BrokerAccount, strategy: Strategy
) -> None:
    services.start_strategy(strategy, by=user)
    form = f"/admin/marketdata/brokeraccount/{account.pk}/change/"
    ways = [f"/admin/marketdata/brokeraccount/{account.pk}/listener/{wish}/" for wish in ("start", "stop")]
    page = staff.get(form).content.decode()
    assert all(way in page for way in ways)
    staff.post(form, {"user": user.pk, "broker": "zerodha", "desired_state": "stopped"})
    account.refresh_from_db()
    assert account.desired_state == "running"  # the form itself stops nothing

    assert "its stop cannot trigger" in staff.get(ways[1]).content.decode()
    assert "will be stopped" in staff.post(ways[1], {"confirmed": "yes"}, follow=True).content.decode()
    account.refresh_from_db()
    assert account.desired_state == "stopped"
    assert staff.get(ways[0].replace("start", "sell")).status_code == 404


def test_staff_without_the_permission_moves_no_listener(client: Client, account: BrokerAccount) -> None:
    viewer = new_user("viewer", is_staff=True)
    held = ("view_brokeraccount", "change_brokeraccount")
    viewer.user_permissions.set(Permission.objects.filter(codename__in=held))
    client.force_login(viewer)
    way = f"/admin/marketdata/brokeraccount/{account.pk}/listener/start/"
    assert way not in client.get(f"/admin/marketdata/brokeraccount/{account.pk}/change/").content.decode()
    assert client.post(way, {"confirmed": "yes"}).status_code == 403
    act(client, "marketdata/brokeraccount", "start_listeners", account.pk)
    account.refresh_from_db()
    assert account.desired_state == "stopped"


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"stop_loss": "1490.03"}, "stop_loss", "use 1490 or 1490.05"),
        ({"stop_loss": "0"}, "stop_loss", "set it above 0"),
        ({"stop_loss": "-5"}, "stop_loss", "set it above 0"),
        ({"entry_price": "1500.01"}, "entry_price", "between two ticks"),
        ({"quantity": 0}, "quantity", "set it above 0"),
    ],
)
def test_the_form_names_the_value_and_what_to_do(
    change: dict[str, Any], field: str, says: str, typed: dict[str, Any]
) -> None:
    form = StrategyForm({**typed, **change})

    assert not form.is_valid()
    assert says in " ".join(map(str, form.errors[field]))


def test_the_form_wants_whole_lots(typed: dict[str, Any], instruments: Instruments) -> None:
    Instrument.objects.filter(pk=typed["instrument"]).update(lot_size=25)
    form = StrategyForm({**typed, "quantity": 30})

    assert "multiple of 25" in str(form.errors["quantity"])


def test_the_form_keeps_users_and_brokers_apart(typed: dict[str, Any], account: BrokerAccount) -> None:
    other = new_user("other")
    assert "belongs to trader" in str(StrategyForm({**typed, "user": other.pk}).errors["account"])

    theirs = Instrument.objects.create(broker="dhan", exchange="NSE", tradingsymbol="INFY", token="1")
    errors = StrategyForm({**typed, "instrument": theirs.pk}).errors
    assert "choose the one that Zerodha lists" in str(errors["instrument"])


def test_while_armed_only_the_stop_moves_and_through_its_service(
    staff: Client, user: User, strategy: Strategy
) -> None:
    services.start_strategy(strategy, by=user)
    url = f"/admin/strategies/strategy/{strategy.pk}/change/"
    inlines = {"exits-TOTAL_FORMS": 0, "exits-INITIAL_FORMS": 0}
    answer = staff.post(
        url, {"name": "Infosys", "stop_loss": "1480", "quantity": 999, "status": "closed", **inlines}
    )

    assert answer.status_code == 302, answer.content
    strategy.refresh_from_db()
    assert (strategy.stop_loss, strategy.quantity, strategy.status) == (Decimal(1480), 10, "active")
    assert strategy.epoch == 2
    assert strategy.events.filter(kind="stop_moved").exists()


def test_an_armed_strategy_cannot_be_deleted(staff: Client, user: User, strategy: Strategy) -> None:
    services.start_strategy(strategy, by=user)

    assert staff.get(f"/admin/strategies/strategy/{strategy.pk}/delete/").status_code == 403
    assert "delete_selected" not in staff.get("/admin/strategies/strategy/").content.decode()


def test_only_staff_gets_in(client: Client, user: User) -> None:
    client.force_login(user)

    assert client.get("/admin/").status_code == 302
