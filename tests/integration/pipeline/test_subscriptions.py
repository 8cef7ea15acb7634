"""Reference counts by rows, and what follows from them for a feed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, time
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from marketdata.domain.errors import UnknownInstrument
from marketdata.domain.sessions import Hours
from marketdata.domain.ticks import FeedMode
from marketdata.models import BrokerAccount, Instrument, MarketDay, Subscription
from marketdata.subscriptions import (
    SubscriptionManager,
    get_subscription_manager,
    strategy_holder,
    watch_holder,
)
from marketdata.wanted import WantedReader, read_calendar, read_tokens
from tests.support.valkey import PrivateValkey
from tests.support.waiting import eventually

pytestmark = pytest.mark.django_db
Instruments = Mapping[str, Instrument]
INFY, SBIN = "NSE:INFY", "NSE:SBIN"


@pytest.fixture
def manager() -> SubscriptionManager:
    return SubscriptionManager()


class TestCounting:
    def test_first_subscribes_second_does_not_last_unsubscribes(
        self, manager: SubscriptionManager, account: BrokerAccount, instruments: Instruments
    ) -> None:
        infy = instruments[INFY].pk
        assert manager.on_strategy_started(1, account.pk, infy) is True
        assert manager.on_strategy_started(2, account.pk, infy) is False
        assert manager.get_strategy_count(INFY) == 2
        assert manager.on_strategy_stopped(1) is False
        assert manager.get_subscribed_symbols(account.pk) == {INFY}
        assert manager.on_strategy_stopped(2) is True
        assert manager.get_subscribed_symbols(account.pk) == set()
        assert manager.get_strategy_count(INFY) == 0

    def test_starting_twice_counts_once(
        self, manager: SubscriptionManager, account: BrokerAccount, instruments: Instruments
    ) -> None:
        for _ in range(3):
            manager.on_strategy_started(1, account.pk, instruments[INFY].pk)
        assert manager.get_strategy_count(INFY) == 1
        assert manager.on_strategy_stopped(1) is True

    def test_stopping_what_never_started_is_nothing(self, manager: SubscriptionManager) -> None:
        assert manager.on_strategy_stopped(99) is False

    def test_a_strategy_that_moved_lets_go_of_what_it_held(
        self, manager: SubscriptionManager, account: BrokerAccount, instruments: Instruments
    ) -> None:
        manager.on_strategy_started(1, account.pk, instruments[INFY].pk)
        manager.on_strategy_started(1, account.pk, instruments[SBIN].pk)
        assert manager.get_subscribed_symbols() == {SBIN}

    def test_a_watcher_keeps_an_instrument_and_is_no_strategy(
        self, manager: SubscriptionManager, account: BrokerAccount, instruments: Instruments, user: User
    ) -> None:
        infy = instruments[INFY].pk
        manager.on_strategy_started(1, account.pk, infy)
        assert manager.hold(watch_holder(user.pk), account.pk, infy) is False
        assert manager.on_strategy_stopped(1) is False
        assert manager.get_subscribed_symbols() == {INFY}
        assert manager.get_strategy_count(INFY) == 0
        assert manager.release(watch_holder(user.pk), account.pk, infy) is True

    def test_accounts_count_apart(
        self, manager: SubscriptionManager, account: BrokerAccount, instruments: Instruments, user: User
    ) -> None:
        other = BrokerAccount.objects.create(user=user, broker="zerodha")
        assert manager.on_strategy_started(1, account.pk, instruments[INFY].pk)
        assert manager.on_strategy_started(2, other.pk, instruments[INFY].pk)
        assert manager.get_strategy_count(INFY) == 2
        assert manager.get_strategy_count(INFY, other.pk) == 1
        assert manager.get_subscribed_symbols(other.pk) == {INFY}

    def test_one_holder_is_not_taken_for_another_that_begins_alike(
        self, manager: SubscriptionManager, account: BrokerAccount, instruments: Instruments
    ) -> None:
        manager.on_strategy_started(1, account.pk, instruments[INFY].pk)
        manager.on_strategy_started(11, account.pk, instruments[INFY].pk)
        manager.on_strategy_stopped(1)
        assert [row.holder for row in Subscription.objects.all()] == [strategy_holder(11)]

    def test_the_accessor_gives_one_for_the_process(self) -> None:
        assert get_subscription_manager() is get_subscription_manager()


class TestHints:
    def test_only_after_the_commit_and_only_for_a_change(
        self,
        manager: SubscriptionManager,
        account: BrokerAccount,
        instruments: Instruments,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        with django_capture_on_commit_callbacks() as calls:
            manager.on_strategy_started(1, account.pk, instruments[INFY].pk)
        assert len(calls) == 1
        with django_capture_on_commit_callbacks() as calls:
            manager.on_strategy_started(1, account.pk, instruments[INFY].pk)
        assert calls == []

    @pytest.mark.django_db(transaction=True)
    def test_reaches_whoever_listens(
        self,
        manager: SubscriptionManager,
        account: BrokerAccount,
        instruments: Instruments,
        valkey: PrivateValkey,
        settings: Settings,
    ) -> None:
        settings.REDIS_URL = valkey.url
        with valkey.client() as client, client.pubsub(ignore_subscribe_messages=True) as listener:
            listener.subscribe("tickguard:hint")
            listener.get_message(timeout=2)
            manager.on_strategy_started(1, account.pk, instruments[INFY].pk)
            assert eventually(lambda: listener.get_message(timeout=0.1))

    @pytest.mark.django_db(transaction=True)
    def test_a_rolled_back_change_hints_nothing(
        self,
        manager: SubscriptionManager,
        account: BrokerAccount,
        instruments: Instruments,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        hints: list[None] = []
        monkeypatch.setattr("marketdata.subscriptions.hint", lambda: hints.append(None))
        with transaction.atomic():
            manager.on_strategy_started(1, account.pk, instruments[INFY].pk)
            transaction.set_rollback(True)
        assert hints == []
        assert manager.get_subscribed_symbols() == set()

    @pytest.mark.django_db(transaction=True)
    def test_a_dead_server_is_no_matter(
        self,
        manager: SubscriptionManager,
        account: BrokerAccount,
        instruments: Instruments,
        settings: Settings,
    ) -> None:
        settings.REDIS_URL = "redis://127.0.0.1:9/0"
        assert manager.on_strategy_started(1, account.pk, instruments[INFY].pk)


class TestWanted:
    @pytest.fixture(autouse=True)
    def is_running(self, account: BrokerAccount) -> None:
        BrokerAccount.objects.update(desired_state="running")

    def test_armed_instruments_come_in_full_and_watched_ones_in_ltp_mode(
        self, manager: SubscriptionManager, account: BrokerAccount, instruments: Instruments
    ) -> None:
        manager.hold("watch:1", account.pk, instruments[INFY].pk)
        manager.hold("watch:1", account.pk, instruments[SBIN].pk)
        manager.on_strategy_started(5, account.pk, instruments[SBIN].pk)
        feed = WantedReader().read().feeds[account.pk]
        assert feed.modes == {INFY: FeedMode.LTP, SBIN: FeedMode.FULL}
        assert feed.tokens == {INFY: "408065", SBIN: "779521"}
        assert feed.user_id == account.user_id
        assert feed.config.access_token.reveal() == "demotoken"

    def test_a_running_account_with_nothing_to_watch_wants_nothing(self, account: BrokerAccount) -> None:
        assert WantedReader().read().feeds[account.pk].modes == {}

    def test_a_stopped_account_is_not_wanted_but_its_owner_is_known(self, account: BrokerAccount) -> None:
        BrokerAccount.objects.update(desired_state="stopped")
        wanted = WantedReader().read()
        assert wanted.feeds == {}
        assert wanted.owners == {account.user_id}

    def test_an_instrument_listed_no_longer_is_not_asked_for(
        self, manager: SubscriptionManager, account: BrokerAccount, instruments: Instruments
    ) -> None:
        manager.on_strategy_started(1, account.pk, instruments[INFY].pk)
        Instrument.objects.filter(pk=instruments[INFY].pk).update(token="")
        assert WantedReader().read().feeds[account.pk].modes == {}

    def test_another_brokers_token_is_never_used(
        self, manager: SubscriptionManager, account: BrokerAccount
    ) -> None:
        foreign = Instrument.objects.create(broker="dhan", exchange="NSE", tradingsymbol="INFY", token="1594")
        manager.on_strategy_started(1, account.pk, foreign.pk)
        assert WantedReader().read().feeds[account.pk].modes == {}

    def test_credentials_that_cannot_be_read_stop_only_their_own_account(
        self, account: BrokerAccount, user: User, settings: Settings
    ) -> None:
        lost = BrokerAccount.objects.create(user=user, broker="zerodha", desired_state="running")
        settings.CREDENTIAL_KEYS = ["bG9zdC1rZXktdGhhdC1ub2JvZHktaGFzLWFueS1tb3I="]
        lost.access_token = "written with a key that is gone"
        lost.save()
        settings.CREDENTIAL_KEYS = ["dGVzdHMtb25seS1ub3QtYS1zZWNyZXQtMDAwMDAwMDA="]
        assert set(WantedReader().read().feeds) == {account.pk}

    def test_what_has_not_changed_is_the_same_and_each_change_is_seen(
        self, manager: SubscriptionManager, account: BrokerAccount, instruments: Instruments
    ) -> None:
        reader = WantedReader()
        other = BrokerAccount.objects.create(
            user=account.user, broker="zerodha", client_id="AB0002", desired_state="running"
        )
        manager.hold("watch:1", other.pk, instruments[SBIN].pk)
        infy = Instrument.objects.filter(pk=instruments[INFY].pk)
        changes: list[Callable[[], object]] = [
            lambda: manager.hold("watch:1", account.pk, instruments[INFY].pk),
            lambda: manager.on_strategy_started(1, account.pk, instruments[INFY].pk),
            lambda: manager.on_strategy_stopped(1),
            lambda: infy.update(token="7"),
            lambda: infy.update(tick_size=Decimal("0.01")),
            lambda: infy.update(tradingsymbol="INFOSYS"),
            lambda: infy.update(broker="dhan"),
            lambda: manager.hold("watch:1", account.pk, instruments[SBIN].pk),
            lambda: BrokerAccount.objects.filter(pk=account.pk).update(desired_state="stopped"),
            lambda: BrokerAccount.objects.filter(pk=account.pk).update(desired_state="running", generation=4),
            lambda: manager.release("watch:1", account.pk, instruments[SBIN].pk),
        ]
        before = reader.read()
        for change in changes:
            change()
            after = reader.read()
            assert after == WantedReader().read()
            assert after != before
            assert after.feeds[other.pk].modes is before.feeds[other.pk].modes
            before = after

    def test_a_symbol_without_token_is_named(self, instruments: Instruments) -> None:
        assert read_tokens("zerodha", [INFY]) == {INFY: "408065"}
        with pytest.raises(UnknownInstrument, match="NSE:NOSUCH"):
            read_tokens("zerodha", [INFY, "NSE:NOSUCH"])


def test_the_calendar_comes_from_its_table() -> None:
    MarketDay.objects.create(exchange="NSE", date=date(2026, 11, 8), opens_at=time(18), closes_at=time(19))
    MarketDay.objects.create(exchange="NSE", date=date(2026, 11, 10))
    calendar = read_calendar(always=False)
    assert calendar.hours("NSE", date(2026, 11, 8)) == Hours(time(18), time(19))
    assert calendar.hours("NSE", date(2026, 11, 10)) is None
