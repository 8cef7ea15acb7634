"""What a new user is told to do next, at each point of the way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from marketdata.loading import loading_of
from marketdata.models import BrokerAccount, Instrument, InstrumentList, ListenerEvent
from marketdata.processlock import ProcessLock
from strategies import services
from strategies.live import starting
from strategies.live.firstrun import first_run, is_over
from strategies.models import Strategy

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]
Instruments = Mapping[str, Instrument]


@pytest.fixture(autouse=True)
def own_lock_dir(settings: Any, tmp_path: Path) -> Path:
    settings.LOCK_DIR = tmp_path
    return tmp_path


@pytest.fixture
def trader(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def next_title(user: User) -> str:
    task = first_run(user.pk, timezone.now()).next
    return task.title if task else ""


def a_strategy(user: User, account: BrokerAccount, instruments: Instruments) -> Strategy:
    return Strategy.objects.create(
        user=user, account=account, instrument=instruments["NSE:INFY"], position="BOUGHT", quantity=10,
        stop_loss=Decimal(1490),
    )  # fmt: skip


def listed(age: timedelta = timedelta()) -> None:
    InstrumentList.objects.create(broker="zerodha", imported_at=timezone.now() - age)


def test_each_step_follows_the_one_before(trader: Client, user: User, instruments: Instruments) -> None:
    assert next_title(user) == "Add your broker account"
    assert "Next: Add your broker account" in trader.get("/").content.decode()

    account = BrokerAccount.objects.create(user=user, broker="zerodha", name="Mine")
    assert next_title(user) == "Log in at the broker"
    account.access_token = "a-token"
    account.save()
    assert next_title(user) == "Load the instrument list"
    listed()
    assert next_title(user) == "Enter a position and its stop"
    strategy = a_strategy(user, account, instruments)
    services.update_stop(strategy, Decimal(1485))
    assert next_title(user) == "Start it"
    services.start_strategy(strategy)
    page = trader.get("/start/").content.decode()
    assert next_title(user) == "See it protected"
    assert "Not yet: the listeners are not running." in page
    assert "python manage.py run_listeners" in page

    assert not is_over(user.pk)
    ListenerEvent.objects.create(account=account, at=timezone.now(), kind="connected")
    assert is_over(user.pk)
    assert next_title(user) == ""
    assert "Set up" not in trader.get("/").content.decode()


def test_the_list_may_be_loaded_from_the_page_or_by_the_command_shown(
    trader: Client, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = trader.get("/start/").content.decode()
    assert f"python manage.py import_instruments zerodha --account {account.pk}" in page

    begun: list[tuple[str, int]] = []
    monkeypatch.setattr(starting, "begin_loading", lambda broker, pk: begun.append((broker, pk)))
    trader.post(f"/start/lists/{account.pk}/")
    assert begun == [("zerodha", account.pk)]


def test_while_it_loads_the_page_looks_again(
    trader: Client, account: BrokerAccount, own_lock_dir: Path
) -> None:
    (own_lock_dir / "import-zerodha.log").write_text("read 10,000 rows\n")
    lock = ProcessLock(own_lock_dir / "import-zerodha.lock")
    lock.acquire()
    answer = trader.get("/start/")
    assert answer.headers["Refresh"] == "2"
    assert "Loading: read 10,000 rows." in answer.content.decode()
    assert "being loaded already" in trader.post(f"/start/lists/{account.pk}/", follow=True).content.decode()

    lock.release()
    assert not loading_of("zerodha").is_running
    answer = trader.get("/start/")
    assert "Refresh" not in answer.headers
    assert "The last try ended with: read 10,000 rows" in answer.content.decode()


def test_a_young_list_is_not_loaded_again(trader: Client, account: BrokerAccount) -> None:
    listed()
    page = trader.post(f"/start/lists/{account.pk}/", follow=True).content.decode()
    assert "The list was not loaded. It was loaded at" in page


@pytest.mark.only_sqlite
def test_loading_does_not_hold_up_a_database_that_exits_need(
    trader: Client, user: User, account: BrokerAccount, instruments: Instruments
) -> None:
    services.start_strategy(a_strategy(user, account, instruments))
    page = trader.get("/start/").content.decode()
    assert "Stops are armed on this installation" in page
    assert "Load it now" not in page
    assert "was not loaded" in trader.post(f"/start/lists/{account.pk}/", follow=True).content.decode()


def test_another_user_s_account_is_not_theirs_to_load_with(client: Client, account: BrokerAccount) -> None:
    client.force_login(User.objects.create_user("stranger"))
    assert client.post(f"/start/lists/{account.pk}/").status_code == 404
