"""Health: its exact shape, who sees what, and when it is degraded."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import Settings

from marketdata.models import BrokerAccount, Instrument, Listener
from project import health
from project.status import StatusWriter
from strategies.models import Exit, Strategy
from strategies.services import start_strategy
from tests.support.valkey import PrivateValkey

# Without collected files WhiteNoise serves from the apps, and says so.
pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at:UserWarning")]
Instruments = Mapping[str, Instrument]
URL = "/health/websocket"
BEARER = {"HTTP_AUTHORIZATION": "Bearer tests-health-token"}


@pytest.fixture
def strategy(account: BrokerAccount, instruments: Instruments) -> Strategy:
    """An active strategy on a running account."""
    row = Strategy.objects.create(
        user=account.user, account=account, instrument=instruments["NSE:INFY"], position="BOUGHT",
        quantity=10, stop_loss=Decimal(1400),
    )  # fmt: skip
    return start_strategy(row)


@pytest.fixture
def listener(strategy: Strategy) -> Listener:
    """Its listener, as a worker reports it when all is well."""
    now = timezone.now()
    return Listener.objects.create(
        account=strategy.account, state="connected", worker="w1", connected_at=now, last_frame_at=now,
        last_tick_at=now, reported_at=now, subscription_count=1,
    )  # fmt: skip


def report(client: Client, **headers: Any) -> tuple[int, dict[str, Any]]:
    answer = client.get(URL, **headers)
    found: dict[str, Any] = answer.json()
    return answer.status_code, found


def unprotected(client: Client) -> list[str]:
    code, body = report(client, **BEARER)
    assert code == 503
    assert body["status"] == "degraded"
    return [row["reason"] for row in body["protection"]["unprotected"]]


def test_all_is_well(client: Client, listener: Listener) -> None:
    code, body = report(client, **BEARER)
    assert code == 200
    user, key = str(listener.account.user_id), f"zerodha:{listener.account_id}"
    assert 0 <= body["listeners"][user][key].pop("last_tick_age_s") < 5
    assert body == {
        "status": "healthy",
        "listeners": {
            user: {
                key: {
                    "state": "connected",
                    "is_connected": True,
                    "is_ticking": True,
                    "subscribed_symbols": ["NSE:INFY"],
                    "subscription_count": 1,
                    "reconnect_attempts": 0,
                    "worker": "w1",
                    "last_error": "",
                }
            }
        },
        "tick_processor": {
            "total_ticks": 0,
            "error_count": 0,
            "error_rate": 0.0,
            "avg_processing_time_ms": 0.0,
            "p99_processing_time_ms": 0.0,
            "symbols_tracked": 0,
            "ticks_per_second": 0.0,
            "refused": {},
        },
        "protection": {"armed": 1, "protected": 1, "unprotected": []},
    }


async def test_a_workers_own_figures_come_through_redis(valkey: PrivateValkey) -> None:
    from project.status import read_statuses

    writer, began = StatusWriter("w1", valkey.url), time.time()
    stats = {**dict.fromkeys(("total_ticks", "error_count", "symbols_tracked"), 5), "ticks_per_second": 2.5}
    await writer.write({"stats": stats, "armed": 1, "feeds": {}})
    with valkey.client() as client:
        assert json.loads(client.get("tickguard:worker:w1") or "")["stats"] == stats
        assert began + 9 <= client.expiretime("tickguard:worker:w1") <= time.time() + 11  # whole seconds
    await writer.close()
    with valkey.client() as client:
        assert client.get("tickguard:worker:w1") is None
    assert read_statuses(["w1"]) == []


def test_figures_and_symbols_of_the_worker_are_shown(
    client: Client, listener: Listener, valkey: PrivateValkey, settings: Settings
) -> None:
    settings.REDIS_URL = valkey.url
    stats = {
        "total_ticks": 100,
        "error_count": 1,
        "error_rate": 0.01,
        "avg_processing_time_ms": 0.02,
        "p99_processing_time_ms": 0.5,
        "symbols_tracked": 2,
        "ticks_per_second": 12.5,
        "refused": {"stale": 3, "outside_band": 1},
    }
    feeds = {str(listener.account_id): {"symbols": ["NSE:INFY", "NSE:SBIN"]}}
    with valkey.client() as server:
        server.set("tickguard:worker:w1", json.dumps({"stats": stats, "armed": 1, "feeds": feeds}))
    _, body = report(client, **BEARER)
    assert body["tick_processor"] == stats
    told = body["listeners"][str(listener.account.user_id)][f"zerodha:{listener.account_id}"]
    assert told["subscribed_symbols"] == ["NSE:INFY", "NSE:SBIN"]
    assert told["subscription_count"] == 2


def test_a_year_without_holidays_is_said(client: Client, listener: Listener, settings: Settings) -> None:
    assert "warnings" not in report(client, **BEARER)[1]
    settings.MARKET_HOURS = "exchange"
    assert ["No market holiday of" in text for text in report(client, **BEARER)[1]["warnings"]] == [
        True,
        True,
    ]


def test_redis_away_leaves_the_rows(client: Client, listener: Listener, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    assert report(client, **BEARER)[0] == 200


class TestWhoSeesWhat:
    def test_strangers_see_the_status_alone(self, client: Client, listener: Listener) -> None:
        assert report(client) == (200, {"status": "healthy"})
        assert report(client, HTTP_AUTHORIZATION="Bearer wrong") == (200, {"status": "healthy"})
        Listener.objects.all().delete()
        assert report(client) == (503, {"status": "degraded"})

    def test_an_empty_token_opens_nothing(
        self, client: Client, listener: Listener, settings: Settings
    ) -> None:
        settings.HEALTH_TOKEN = ""
        for header in ("Bearer ", "Bearer", ""):
            assert report(client, HTTP_AUTHORIZATION=header) == (200, {"status": "healthy"})

    def test_users_see_their_own_and_staff_all(self, client: Client, listener: Listener) -> None:
        owner = listener.account.user
        other = User.objects.create_user("other")
        staff = User.objects.create_user("staff", is_staff=True)
        seen = {}
        for person in (owner, other, staff):
            client.force_login(person)
            seen[person.username] = report(client)[1]
        assert list(seen["trader"]["listeners"]) == [str(owner.pk)]
        assert seen["other"]["listeners"] == {}
        assert seen["other"]["protection"] == {"armed": 0, "protected": 0, "unprotected": []}
        assert list(seen["staff"]["listeners"]) == [str(owner.pk)]

    def test_anothers_trouble_does_not_show_in_ones_own(self, client: Client, strategy: Strategy) -> None:
        client.force_login(User.objects.create_user("other"))
        assert report(client)[0] == 200


class TestDegraded:
    def test_nobody_runs_the_listeners(self, client: Client, strategy: Strategy) -> None:
        assert unprotected(client) == ["the listeners are not running"]

    def test_a_worker_that_died_cannot_take_its_last_report_back(
        self, client: Client, listener: Listener
    ) -> None:
        Listener.objects.update(reported_at=timezone.now() - timedelta(seconds=9))
        assert unprotected(client) == ["the listeners are not running"]
        _, body = report(client, **BEARER)
        (told,) = body["listeners"][str(listener.account.user_id)].values()
        assert told["state"] == "stopped"
        assert not told["is_connected"]

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            (
                {"state": "connecting", "last_error": "refused"},
                "the feed of Test is not connected: refused; its stops are checked by quotes meanwhile",
            ),
            (
                {"state": "connecting", "last_tick_at": None},
                "the feed of Test is not connected; its stops are not checked",
            ),
            (
                {"unseen": {"NSE:INFY": "no tick for 34 s while its price moved"}},
                "NSE:INFY: no tick for 34 s while its price moved",
            ),
            ({"state": "login_needed"}, "log in again at the broker of Test"),
            ({"last_tick_at": None}, "prices have stopped coming"),
        ],
    )
    def test_the_feed_is_not_as_it_should_be(
        self, client: Client, listener: Listener, fields: dict[str, Any], reason: str
    ) -> None:
        Listener.objects.update(**fields)
        assert unprotected(client) == [reason]

    def test_silence_while_the_exchange_sleeps_is_no_fault(
        self, client: Client, listener: Listener, settings: Settings
    ) -> None:
        Listener.objects.update(last_tick_at=None)
        Instrument.objects.update(exchange="NOWHERE")
        settings.MARKET_HOURS = "exchange"
        assert report(client, **BEARER)[0] == 200

    def test_the_account_is_stopped(self, client: Client, listener: Listener) -> None:
        BrokerAccount.objects.update(desired_state="stopped")
        assert unprotected(client) == ["the listener of Test is stopped"]

    def test_the_instrument_is_listed_no_longer(self, client: Client, listener: Listener) -> None:
        Instrument.objects.update(token="")
        assert unprotected(client) == ["NSE:INFY is no longer in the broker's instrument list"]

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ({"quantity": 0}, "it has no quantity"),
            ({"stop_loss": None}, "it has no stop"),
            ({"stop_loss": "0"}, "it has no stop"),
            ({"position": "HELD"}, "its position 'HELD' is unknown"),
        ],
    )
    def test_the_row_cannot_be_armed(
        self, client: Client, listener: Listener, strategy: Strategy, row: dict[str, Any], reason: str
    ) -> None:
        Strategy.objects.filter(pk=strategy.pk).update(**row)
        assert unprotected(client) == [reason]

    def test_an_exit_needs_a_person(self, client: Client, listener: Listener, strategy: Strategy) -> None:
        now = timezone.now()
        Strategy.objects.update(status="exiting")
        Exit.objects.create(
            strategy=strategy, epoch=1, reason="stop_loss", quantity=10, state="needs_human",
            concern="the broker said no", created_at=now, updated_at=now,
        )  # fmt: skip
        assert unprotected(client) == ["the broker said no"]

    def test_a_watched_instrument_without_prices(self, client: Client, listener: Listener) -> None:
        Strategy.objects.update(position="NONE")
        Listener.objects.update(last_tick_at=timezone.now() - timedelta(seconds=30))
        assert unprotected(client) == []

    def test_a_running_account_with_nothing_to_watch_is_well(
        self, client: Client, account: BrokerAccount
    ) -> None:
        BrokerAccount.objects.update(desired_state="running")
        assert report(client, **BEARER)[0] == 200


def test_the_process_is_up(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_ready_means_that_what_is_needed_answers(
    client: Client, valkey: PrivateValkey, settings: Settings
) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "database": "ok"}
    settings.REDIS_URL = valkey.url
    assert client.get("/readyz").json() == {"status": "ready", "database": "ok", "redis": "ok"}
    valkey.kill()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "database": "ok", "redis": "down"}


def test_only_reading_is_answered(rf: RequestFactory) -> None:
    answer: HttpResponse = health.healthz(rf.post("/healthz"))
    assert answer.status_code == 405
