"""Strategies and broker accounts that people enter themselves: what is refused, beside which field."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from marketdata.models import BrokerAccount, Instrument
from strategies import services
from strategies.live import entry
from strategies.models import Strategy

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]
Instruments = Mapping[str, Instrument]
TYPED = {
    "instrument": "nse:infy", "position": "BOUGHT", "product": "MIS", "quantity": "1,000", "entry_price": "",
    "stop_loss": "₹ 1,490.50", "name": "Infosys swing",
}  # fmt: skip


@pytest.fixture
def trader(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


@pytest.fixture
def typed(account: BrokerAccount, instruments: Instruments) -> dict[str, Any]:
    return {"account": account.pk, **TYPED}


@pytest.fixture
def future(account: BrokerAccount) -> Instrument:
    return Instrument.objects.create(
        broker="zerodha", exchange="NFO", tradingsymbol="NIFTY26DECFUT", token="11", instrument_type="FUT",
        lot_size=75, tick_size=Decimal("0.05"),
    )  # fmt: skip


def trades_at(monkeypatch: pytest.MonkeyPatch, price: str) -> None:
    monkeypatch.setattr(entry, "last_price", lambda _symbol: Decimal(price))


def errors(client: Client, address: str, data: Mapping[str, Any]) -> Mapping[str, list[str]]:
    """Return what is refused, by field; checks that each complaint is on the page."""
    answer = client.post(address, data)
    assert answer.status_code == 200
    found: Mapping[str, list[str]] = answer.context["form"].errors
    page = answer.content.decode()
    for name, said in found.items():
        assert name == "__all__" or f'id="id_{name}_error"' in page
        assert all(text.replace("'", "&#x27;") in page for text in said)
    return found


def test_a_trader_enters_a_strategy_and_nothing_is_armed(
    trader: Client, typed: dict[str, Any], user: User
) -> None:
    answer = trader.post("/strategies/new/", typed)

    row = Strategy.objects.get()
    assert answer.headers["Location"] == f"/strategies/{row.pk}/"
    assert (row.user, row.symbol, row.status, row.quantity) == (user, "NSE:INFY", "draft", 1000)
    trader.post("/strategies/new/", {**typed, "name": ""})
    assert Strategy.objects.latest("pk").name == "NSE:INFY long"
    assert (row.stop_loss, row.entry_price, row.live) == (Decimal("1490.5"), None, False)
    assert row.events.get().kind == "created"


REFUSED = [
    ({"instrument": ""}, "instrument", "Type the instrument"),
    ({"instrument": "NSE:INFYY"}, "instrument", "did you mean NSE:INFY?"),
    ({"instrument": "NSE:ZZZZ"}, "instrument", "is not in the instrument list of Zerodha"),
    ({"quantity": ""}, "quantity", "A position needs the quantity held"),
    ({"quantity": "ten"}, "quantity", "Type a whole number"),
    ({"quantity": "-5"}, "quantity", "greater than or equal to 0"),
    ({"stop_loss": ""}, "stop_loss", "A position needs a stop-loss"),
    ({"stop_loss": "1490.51"}, "stop_loss", "1490.51 is between two ticks of 0.05: use 1490.5 or 1490.55"),
    ({"stop_loss": "-1"}, "stop_loss", "-1 is not a price"),
    ({"stop_loss": "abc"}, "stop_loss", "Enter a number"),
    ({"entry_price": "0"}, "entry_price", "0 is not a price"),
    ({"product": "NRML"}, "product", "NRML is for futures and options"),
    ({"product": "CNC", "position": "SOLD"}, "product", "CNC cannot be sold short"),
    ({"instrument": "NFO:NIFTY26DECFUT", "quantity": "100", "product": "NRML"}, "quantity", "use a multiple of 75"),
    ({"instrument": "NFO:NIFTY26DECFUT", "quantity": "75", "product": "CNC"}, "product", "choose NRML or MIS"),
    ({"account": "999999"}, "account", "Select a valid choice"),
]  # fmt: skip


@pytest.mark.usefixtures("future")
@pytest.mark.parametrize(("change", "field", "said"), REFUSED)
def test_each_refusal_stands_beside_its_field_and_names_the_value(
    trader: Client, typed: dict[str, Any], change: dict[str, str], field: str, said: str
) -> None:
    found = errors(trader, "/strategies/new/", {**typed, **change})

    assert said in " ".join(found[field])
    assert not Strategy.objects.exists()


def test_a_stop_that_the_price_has_passed_is_refused(
    trader: Client, typed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trades_at(monkeypatch, "1489.95")
    [said] = errors(trader, "/strategies/new/", typed)["stop_loss"]
    assert said == (
        "NSE:INFY trades at 1489.95, already at or below the stop 1490.50: it would exit at once. "
        "Choose another stop."
    )
    short = {**typed, "position": "SOLD", "stop_loss": "1489.95"}
    assert "already at or above" in errors(trader, "/strategies/new/", short)["stop_loss"][0]


def test_an_account_of_somebody_else_cannot_be_used(trader: Client, typed: dict[str, Any]) -> None:
    stranger = User.objects.create_user("stranger")
    theirs = BrokerAccount.objects.create(user=stranger, broker="zerodha", client_id="ZZ1")

    assert "account" in errors(trader, "/strategies/new/", {**typed, "account": theirs.pk})
    assert str(theirs) not in trader.get("/strategies/new/").content.decode()


def test_without_an_account_one_is_added_first(client: Client) -> None:
    client.force_login(User.objects.create_user("newcomer"))
    assert client.get("/strategies/new/").headers["Location"] == "/brokers/new/"


def test_a_strategy_is_edited_while_nothing_is_armed(trader: Client, typed: dict[str, Any]) -> None:
    trader.post("/strategies/new/", typed)
    row = Strategy.objects.get()
    page = trader.get(f"/strategies/{row.pk}/edit/").content.decode()
    assert 'value="NSE:INFY"' in page
    assert 'value="1490.50"' in page

    trader.post(f"/strategies/{row.pk}/edit/", {**typed, "instrument": "NSE:SBIN", "stop_loss": "800"})
    row.refresh_from_db()
    assert (row.symbol, row.stop_loss, row.status) == ("NSE:SBIN", 800, "draft")
    assert row.events.last().detail["text"] == "instrument, stop loss"  # type: ignore[union-attr]


def test_of_an_armed_strategy_the_name_alone_is_edited(trader: Client, typed: dict[str, Any]) -> None:
    trader.post("/strategies/new/", typed)
    row = services.start_strategy(Strategy.objects.get())
    assert "Its stop is armed" in trader.get(f"/strategies/{row.pk}/edit/").content.decode()

    trader.post(f"/strategies/{row.pk}/edit/", {**typed, "name": "Mine", "quantity": "5", "stop_loss": "1"})
    row.refresh_from_db()
    assert (row.name, row.quantity, row.stop_loss) == ("Mine", 1000, Decimal("1490.5"))
    with pytest.raises(services.StrategyError, match="is active and cannot be changed"):
        services.change_strategy(row, {"quantity": 5})


def test_a_stop_moves_and_not_through_the_price(
    trader: Client, typed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.post("/strategies/new/", typed)
    row = services.start_strategy(Strategy.objects.get())
    address = f"/strategies/{row.pk}/stop-price/"
    trades_at(monkeypatch, "1499.95")

    assert (
        "already at or below the stop 1500.00"
        in errors(trader, address, {"stop_loss": "1500"})["stop_loss"][0]
    )
    assert "between two ticks" in errors(trader, address, {"stop_loss": "1495.01"})["stop_loss"][0]
    assert "Type the new stop-loss" in errors(trader, address, {"stop_loss": ""})["stop_loss"][0]
    assert trader.post(address, {"stop_loss": "1,495"}).status_code == 302
    row.refresh_from_db()
    assert (row.stop_loss, row.status) == (1495, "active")

    services.exit_now(row)
    assert "being exited" in errors(trader, address, {"stop_loss": "1,496"})["stop_loss"][0]


def test_where_money_moves_a_start_is_asked_back_and_says_so(
    trader: Client, typed: dict[str, Any], account: BrokerAccount, settings: Any
) -> None:
    trader.post("/strategies/new/", {**typed, "live": "on"})
    row = Strategy.objects.get()
    settings.SIMULATED_BROKERS = frozenset()
    assert (
        "No order will be sent: live trading is off" in trader.get(f"/strategies/{row.pk}/").content.decode()
    )

    settings.LIVE_TRADING = True
    BrokerAccount.objects.update(live=True)
    answer = trader.post(f"/strategies/{row.pk}/start/", {"back": "strategy"})
    page = answer.content.decode()
    assert "that is real money" in page
    assert "NSE:INFY · Long 1000 · MIS" in page
    row.refresh_from_db()
    assert row.status == "draft"

    answer = trader.post(f"/strategies/{row.pk}/start/", {"back": "strategy", "confirmed": "yes"})
    assert answer.headers["Location"] == f"/strategies/{row.pk}/"
    row.refresh_from_db()
    assert row.status == "active"


# --- accounts ---------------------------------------------------------------------------------

ACCOUNT = {"broker": "zerodha", "name": "", "client_id": " AB1234 ", "api_key": " key ", "api_secret": "hush"}


def test_a_trader_adds_an_account_whose_secret_is_never_shown(trader: Client, user: User) -> None:
    answer = trader.post("/brokers/new/", ACCOUNT)

    row = BrokerAccount.objects.get()
    assert answer.headers["Location"] == f"/brokers/{row.pk}/"
    assert (row.user, row.client_id, row.api_key, row.api_secret.reveal()) == (user, "AB1234", "key", "hush")
    assert (row.live, row.desired_state) == (False, "stopped")
    page = trader.get(f"/brokers/{row.pk}/edit/").content.decode()
    assert "hush" not in page
    assert "Leave it empty to keep what is stored" in page


def test_the_same_login_twice_is_refused_beside_its_field(trader: Client) -> None:
    trader.post("/brokers/new/", ACCOUNT)
    assert "is an account here already" in errors(trader, "/brokers/new/", ACCOUNT)["client_id"][0]
    both = {**ACCOUNT, "client_id": "X", "live": "on", "paper": "on"}
    assert "choose one of the two" in errors(trader, "/brokers/new/", both)["paper"][0]
    assert "Choose the broker" in errors(trader, "/brokers/new/", {**both, "broker": ""})["broker"][0]


def test_another_client_s_login_does_not_outlive_the_change(
    trader: Client, account: BrokerAccount, typed: dict[str, Any]
) -> None:
    address = f"/brokers/{account.pk}/edit/"
    kept = {"name": "Renamed", "client_id": account.client_id, "api_key": account.api_key, "api_secret": ""}
    trader.post(address, kept)
    account.refresh_from_db()
    assert (account.name, bool(account.access_token), bool(account.api_secret)) == ("Renamed", True, True)

    trader.post("/strategies/new/", typed)
    row = services.start_strategy(Strategy.objects.get())
    other = {**kept, "client_id": "OTHER1"}
    assert "Stops are armed" in errors(trader, address, other)["client_id"][0]
    services.stop_strategy(row)
    trader.post(address, other)
    account.refresh_from_db()
    assert (account.client_id, bool(account.access_token)) == ("OTHER1", False)


def test_another_user_s_account_does_not_exist(client: Client, account: BrokerAccount) -> None:
    client.force_login(User.objects.create_user("stranger"))
    address = f"/brokers/{account.pk}/edit/"
    assert (client.get(address).status_code, client.post(address, ACCOUNT).status_code) == (404, 404)
