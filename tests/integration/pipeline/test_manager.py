"""What the manager asks of listeners when the database changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db.models import F

from marketdata.brokers import registry
from marketdata.database import DatabaseThread
from marketdata.domain.errors import BrokerUnavailable, UnknownBroker, UnknownInstrument
from marketdata.domain.gate import Decision, Gate
from marketdata.domain.orders import OrderSnapshot, OrderStatus, Side
from marketdata.domain.sessions import Calendar
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.manager import ListenerManager, get_listener_manager, set_listener_manager
from marketdata.models import BrokerAccount, Instrument, Subscription
from marketdata.ports import BrokerConfig
from marketdata.subscriptions import SubscriptionManager
from marketdata.wanted import WantedFeed
from tests.fakes.feed import FakeAdapter, FakeListener
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)
Instruments = Mapping[str, Instrument]
INFY, SBIN, RELIANCE = "NSE:INFY", "NSE:SBIN", "NSE:RELIANCE"


class Pipeline:
    def __init__(self) -> None:
        self.taken: list[tuple[int, Tick]] = []

        self.gate = Gate(Calendar(always=True))

    def accept(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> Sequence[tuple[Tick, Decision]]:
        self.taken += [(user_id, tick) for tick in ticks]
        return [(tick, self.gate.judge(tick, tick.received_at, feed)) for tick in ticks]


class Hooks:
    def __init__(self) -> None:
        self.snapshots: list[tuple[int, int]] = []
        self.events: list[tuple[int, str]] = []
        self.orders: list[tuple[int, OrderSnapshot]] = []
        self.fail_first = False
        self.quoted = {INFY: 1}
        self.asked: list[tuple[Collection[str] | None, bool]] = []
        self.details: list[str] = []

    async def judge_by_quotes(
        self, user_id: int, account_id: int, symbols: Collection[str] | None = None, *, is_gap: bool = True
    ) -> Mapping[str, int]:
        self.snapshots.append((user_id, account_id))
        self.asked.append((symbols, is_gap))
        if self.fail_first and len(self.snapshots) == 1:
            raise BrokerUnavailable("no quotes yet")
        return self.quoted

    def on_order_update(self, account_id: int, order: OrderSnapshot) -> None:
        self.orders.append((account_id, order))

    def on_feed_event(self, feed: WantedFeed, kind: str, detail: str) -> None:
        self.events.append((feed.config.account_id, kind))
        self.details.append(detail)


def quick(monkeypatch: pytest.MonkeyPatch, quiet_s: float = 0.3) -> None:
    """Let silence mean something sooner."""
    monkeypatch.setattr("marketdata.feeds.LOOK_S", 0.01)
    monkeypatch.setattr("marketdata.quoting.LOOK_S", 0.01)
    for name in ("SPACING_S", "IN_VAIN_S"):
        monkeypatch.setattr(f"marketdata.quoting.{name}", 0.05)
    for name in ("FEED_QUIET_S", "QUIET_S"):
        monkeypatch.setattr(f"marketdata.freshness.{name}", quiet_s)


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def adapter(name: str) -> FakeAdapter:
        if name != "zerodha":
            raise UnknownBroker(f"unknown broker {name!r}: registered are zerodha")
        return FakeAdapter()

    FakeListener.all, FakeListener.refuses, FakeListener.hangs = [], set(), set()
    monkeypatch.setattr(registry, "adapter", adapter)
    yield
    FakeListener.all = []


@pytest.fixture
async def manager() -> AsyncIterator[ListenerManager]:
    database = DatabaseThread("test-manager")
    built = ListenerManager(Pipeline(), hooks=Hooks(), database=database)
    yield built
    await built.stop_all_listeners()
    database.close()


@pytest.fixture
def running(account: BrokerAccount, instruments: Instruments) -> BrokerAccount:
    account.desired_state = "running"
    account.save()
    Subscription.objects.create(account=account, instrument=instruments[INFY], holder="strategy:1")
    return account


async def test_only_the_feeds_of_owned_users_run(running: BrokerAccount) -> None:
    database, owned = DatabaseThread("test-manager"), set[int]()
    manager = ListenerManager(Pipeline(), hooks=Hooks(), database=database, owned=lambda: owned)
    await manager.reconcile()
    assert (manager.reports(), manager.owners) == ([], frozenset())
    owned.add(running.user_id)
    await manager.reconcile()
    await eventually_async(lambda: [one for one in FakeListener.all if one.is_connected])
    assert manager.owners == {running.user_id}
    await manager.stop_users({running.user_id + 1})
    assert len(manager.reports()) == 1
    owned.clear()
    await manager.stop_users({running.user_id})
    assert (manager.reports(), manager.owners) == ([], frozenset())
    assert not FakeListener.all[0].is_connected
    await manager.reconcile()
    assert manager.reports() == []
    await manager.stop_all_listeners()
    database.close()


@asynccontextmanager
async def reconciling(manager: ListenerManager) -> AsyncIterator[None]:
    task = asyncio.create_task(manager.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def change(manager: ListenerManager, work: Callable[[], Any]) -> None:
    """Do something to the database and let the manager see it."""
    await sync_to_async(work)()
    await manager.reconcile()


async def only_listener() -> FakeListener:
    await eventually_async(lambda: len(FakeListener.all) == 1 and FakeListener.all[0].is_connected)
    return FakeListener.all[0]


def hooks(manager: ListenerManager) -> Hooks:
    found = manager._hooks
    assert isinstance(found, Hooks)
    return found


async def test_a_running_account_connects_with_what_it_holds(
    manager: ListenerManager, running: BrokerAccount
) -> None:
    await manager.reconcile()
    listener = await only_listener()
    assert listener.modes == {INFY: FeedMode.FULL}
    assert listener.wire == {INFY: "408065"}
    assert listener.user_id == running.user_id
    assert hooks(manager).events == [(running.pk, "connected")]


async def test_nothing_to_do_changes_nothing(manager: ListenerManager, running: BrokerAccount) -> None:
    await manager.reconcile()
    listener = await only_listener()
    for _ in range(3):
        await manager.reconcile()
    await asyncio.sleep(0)
    assert listener.log == ["connect"]
    assert len(FakeListener.all) == 1


async def test_subscriptions_follow_their_rows(
    manager: ListenerManager, running: BrokerAccount, instruments: Instruments
) -> None:
    await manager.reconcile()
    listener = await only_listener()
    counts = SubscriptionManager()
    await change(manager, lambda: counts.hold("watch:1", running.pk, instruments[SBIN].pk))
    await eventually_async(lambda: listener.modes == {INFY: FeedMode.FULL, SBIN: FeedMode.LTP})
    await change(manager, lambda: counts.on_strategy_started(2, running.pk, instruments[SBIN].pk))
    await eventually_async(lambda: listener.modes == {INFY: FeedMode.FULL, SBIN: FeedMode.FULL})
    await change(manager, lambda: counts.on_strategy_stopped(2))
    await eventually_async(lambda: listener.modes == {INFY: FeedMode.FULL, SBIN: FeedMode.LTP})
    await change(manager, lambda: counts.release("watch:1", running.pk, instruments[SBIN].pk))
    await eventually_async(lambda: listener.modes == {INFY: FeedMode.FULL})
    assert listener.log == ["connect"]


async def test_with_the_last_holder_gone_the_listener_disconnects_and_comes_back_for_the_next(
    manager: ListenerManager, running: BrokerAccount, instruments: Instruments
) -> None:
    await manager.reconcile()
    listener = await only_listener()
    await change(manager, lambda: SubscriptionManager().on_strategy_stopped(1))
    await eventually_async(lambda: listener.log == ["connect", "disconnect"])
    assert [report.health.state for report in manager.reports()] == ["idle"]
    await change(
        manager, lambda: SubscriptionManager().on_strategy_started(3, running.pk, instruments[SBIN].pk)
    )
    await eventually_async(lambda: len(FakeListener.all) == 2 and FakeListener.all[1].is_connected)
    assert FakeListener.all[1].modes == {SBIN: FeedMode.FULL}


async def test_a_stopped_account_disconnects(manager: ListenerManager, running: BrokerAccount) -> None:
    await manager.reconcile()
    listener = await only_listener()
    await change(manager, lambda: BrokerAccount.objects.update(desired_state="stopped"))
    await eventually_async(lambda: listener.log[-1] == "disconnect")
    assert manager.reports() == []


async def test_a_raised_generation_restarts(manager: ListenerManager, running: BrokerAccount) -> None:
    await manager.reconcile()
    listener = await only_listener()
    await change(manager, lambda: BrokerAccount.objects.update(generation=F("generation") + 1))
    await eventually_async(lambda: len(FakeListener.all) == 2 and FakeListener.all[1].is_connected)
    assert listener.log == ["connect", "disconnect"]
    assert FakeListener.all[1].modes == {INFY: FeedMode.FULL}


async def test_todays_token_goes_to_the_running_listener(
    manager: ListenerManager, running: BrokerAccount
) -> None:
    await manager.reconcile()
    listener = await only_listener()

    def log_in() -> None:
        running.access_token = "tomorrow"
        running.save()

    await change(manager, log_in)
    await eventually_async(lambda: listener.log == ["connect", "use_config"])
    assert listener.config.access_token.reveal() == "tomorrow"


async def test_a_token_of_the_list_that_changed_hands_restarts(
    manager: ListenerManager, running: BrokerAccount, instruments: Instruments
) -> None:
    await manager.reconcile()
    await only_listener()
    await change(manager, lambda: Instrument.objects.filter(pk=instruments[INFY].pk).update(token="1"))
    await eventually_async(lambda: len(FakeListener.all) == 2 and FakeListener.all[1].wire == {INFY: "1"})


async def test_an_account_that_hangs_delays_no_other(
    manager: ListenerManager, running: BrokerAccount, instruments: Instruments, user: User
) -> None:
    FakeListener.hangs = {running.pk}

    def second() -> BrokerAccount:
        other = BrokerAccount.objects.create(user=user, broker="zerodha", desired_state="running")
        Subscription.objects.create(account=other, instrument=instruments[SBIN], holder="strategy:2")
        return other

    other = await sync_to_async(second)()
    await manager.reconcile()
    await eventually_async(lambda: any(it.is_connected for it in FakeListener.all))
    assert [it.config.account_id for it in FakeListener.all if it.is_connected] == [other.pk]


async def test_an_account_of_an_unknown_broker_delays_no_other(
    manager: ListenerManager, running: BrokerAccount, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    strange = await BrokerAccount.objects.acreate(user=user, broker="angelone", desired_state="running")
    for _ in range(3):
        await manager.reconcile()
    await only_listener()
    assert hooks(manager).events.count((strange.pk, "failed")) == 1
    assert "unknown broker 'angelone'" in caplog.text


async def test_armed_instruments_come_first_where_a_connection_is_too_small(
    manager: ListenerManager, running: BrokerAccount, instruments: Instruments
) -> None:
    def fill() -> None:
        names = [
            Instrument(broker="zerodha", exchange="NSE", tradingsymbol=f"A{n}", token=str(n))
            for n in range(5)
        ]
        for row in Instrument.objects.bulk_create(names):
            Subscription.objects.create(account=running, instrument=row, holder="watch:1")

    await sync_to_async(fill)()
    await manager.reconcile()
    listener = await only_listener()
    assert listener.modes == {INFY: FeedMode.FULL, "NSE:A0": FeedMode.LTP, "NSE:A1": FeedMode.LTP}
    assert (running.pk, "limited") in hooks(manager).events


async def test_ticks_and_orders_carry_their_user_and_account(
    manager: ListenerManager, running: BrokerAccount
) -> None:
    await manager.reconcile()
    listener = await only_listener()
    tick = Tick(INFY, 1, 0.0)
    listener.tick(tick)
    pipeline = manager._pipeline
    assert isinstance(pipeline, Pipeline)
    assert pipeline.taken == [(running.user_id, tick)]
    order = OrderSnapshot("1", "", INFY, Side.SELL, "MIS", 1, 0, OrderStatus.LIVE, "OPEN")
    listener.emit("on_order_update", order)
    assert hooks(manager).orders == [(running.pk, order)]


async def test_prices_are_asked_for_after_each_connect_until_they_come(
    manager: ListenerManager, running: BrokerAccount
) -> None:
    hooks(manager).fail_first = True
    await manager.reconcile()
    await eventually_async(lambda: hooks(manager).snapshots == [(running.user_id, running.pk)] * 2)


async def test_a_newly_armed_instrument_is_asked_for_too(
    manager: ListenerManager, running: BrokerAccount, instruments: Instruments
) -> None:
    await manager.reconcile()
    await only_listener()
    await eventually_async(lambda: len(hooks(manager).snapshots) == 1)
    await change(manager, lambda: SubscriptionManager().hold("watch:1", running.pk, instruments[SBIN].pk))
    await change(
        manager, lambda: SubscriptionManager().on_strategy_started(2, running.pk, instruments[RELIANCE].pk)
    )
    await eventually_async(lambda: len(hooks(manager).snapshots) == 2)


async def test_a_quiet_feed_is_asked_for_quotes_and_they_are_evidence(
    manager: ListenerManager, running: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    began = time.monotonic()
    await manager.reconcile()
    listener = await only_listener()
    listener.tick(Tick(INFY, 1, 1000.0, 1000))
    await eventually_async(lambda: len(hooks(manager).snapshots) >= 3)
    assert hooks(manager).asked[:3] == [(None, True), ({INFY}, True), ({INFY}, True)]
    report = manager.reports()[0]
    assert report.quote_age_s is not None
    assert report.quote_age_s <= time.monotonic() - began
    assert report.unseen == {}


@pytest.mark.parametrize(
    ("price", "age_s", "is_asked"),
    [(1, 0, False), (1, 3600, True), (1, -35, True), (0, 0, True)],
    ids=["fresh", "an old trade again and again", "from the future", "no price"],
)
async def test_what_may_not_trigger_is_asked_for(
    manager: ListenerManager,
    running: BrokerAccount,
    monkeypatch: pytest.MonkeyPatch,
    price: int,
    age_s: int,
    *,
    is_asked: bool,
) -> None:
    quiet_s = 0.3 if is_asked else 1.5  # a machine that stands still for a moment leaves a fresh one fresh
    quick(monkeypatch, quiet_s)
    await manager.reconcile()
    listener = await only_listener()
    await eventually_async(lambda: len(hooks(manager).snapshots) == 1)
    until = time.monotonic() + quiet_s * 2
    while time.monotonic() < until:
        listener.tick(Tick(INFY, price, 1000.0, 1000 - age_s))
        await asyncio.sleep(0.03)
    assert (len(hooks(manager).snapshots) > 1) is is_asked


async def test_a_quote_that_leaves_a_symbol_out_says_nothing_of_it(
    manager: ListenerManager, running: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch, quiet_s=60.0)
    hooks(manager).quoted = {SBIN: 1}
    await manager.reconcile()
    await only_listener()
    await eventually_async(lambda: len(hooks(manager).snapshots) > 2)  # QUIET_S is far from over
    assert manager.reports()[0].unseen == {INFY: "its price has not been seen yet"}
    hooks(manager).quoted = {INFY: 1}
    await eventually_async(lambda: manager.reports()[0].unseen == {})


async def test_a_clock_that_is_off_is_told_once(
    manager: ListenerManager, running: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketdata.feeds.LOOK_S", 0.01)
    monkeypatch.setattr("marketdata.freshness.OFF_S", 0.1)
    await manager.reconcile()
    listener = await only_listener()

    def is_told() -> bool:
        listener.tick(Tick(INFY, 1, 1000.0, 1035))
        return (running.pk, "clock") in hooks(manager).events

    await eventually_async(is_told)
    assert manager.reports()[0].trouble == hooks(manager).details[-1]
    assert "stamped 35 s ahead of this machine's clock" in manager.reports()[0].trouble
    listener.tick(Tick(INFY, 1, 1000.0, 1000))
    assert manager.reports()[0].trouble == ""
    assert hooks(manager).events.count((running.pk, "clock")) == 1


async def test_a_hint_shortens_the_wait(
    manager: ListenerManager, running: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketdata.manager.RECONCILE_S", 60.0)
    async with reconciling(manager):
        listener = await only_listener()
        await BrokerAccount.objects.aupdate(desired_state="stopped")
        manager.hint()
        await eventually_async(lambda: listener.log[-1] == "disconnect")


async def test_without_a_hint_it_takes_two_seconds(manager: ListenerManager, running: BrokerAccount) -> None:
    async with reconciling(manager):
        listener = await only_listener()
        await BrokerAccount.objects.aupdate(desired_state="stopped")
        await eventually_async(lambda: listener.log[-1] == "disconnect", timeout=4)


async def test_a_database_in_trouble_leaves_feeds_as_they_are(
    manager: ListenerManager, running: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketdata.manager.RECONCILE_S", 0.01)
    looks: list[None] = []

    def fail(_: object) -> None:
        looks.append(None)
        raise RuntimeError("no database")

    async with reconciling(manager):
        listener = await only_listener()
        monkeypatch.setattr("marketdata.manager.WantedReader.read", fail)
        await eventually_async(lambda: len(looks) > 2)
        assert listener.is_connected
    assert not listener.is_connected


class TestByHand:
    CONFIG = BrokerConfig(account_id=77, broker="zerodha", client_id="X", api_key="k")

    async def test_a_listener_lives_from_start_to_stop(
        self, manager: ListenerManager, instruments: Instruments
    ) -> None:
        await manager.start_listener(1, self.CONFIG)
        await manager.subscribe_symbols(77, [INFY])
        await manager.subscribe_symbols(77, [SBIN], FeedMode.LTP)
        listener = await only_listener()
        await eventually_async(lambda: listener.modes == {INFY: FeedMode.FULL, SBIN: FeedMode.LTP})
        await manager.unsubscribe_symbols(77, [SBIN])
        await eventually_async(lambda: set(listener.modes) == {INFY})
        assert manager.get_all_health()[1]["zerodha:77"].subscribed_symbols == (INFY,)
        await manager.stop_listener(77)
        assert not listener.is_connected
        assert manager.get_all_health() == {}
        await manager.stop_listener(77)

    async def test_one_user_has_several(self, manager: ListenerManager) -> None:
        second = BrokerConfig(account_id=78, broker="zerodha", client_id="Y", api_key="k")
        await manager.start_listener(1, self.CONFIG)
        await manager.start_listener(1, second)
        assert set(manager.get_all_health()[1]) == {"zerodha:77", "zerodha:78"}
        await manager.stop_all_listeners()
        assert manager.get_all_health() == {}

    async def test_an_unknown_broker_is_named(self, manager: ListenerManager) -> None:
        strange = BrokerConfig(account_id=79, broker="nobroker", client_id="", api_key="")
        with pytest.raises(UnknownBroker, match="nobroker"):
            await manager.start_listener(1, strange)

    async def test_an_unknown_symbol_is_named_and_changes_nothing(
        self, manager: ListenerManager, instruments: Instruments
    ) -> None:
        await manager.start_listener(1, self.CONFIG)
        with pytest.raises(UnknownInstrument, match="NSE:NOSUCH"):
            await manager.subscribe_symbols(77, [INFY, "NSE:NOSUCH"])
        assert manager.reports()[0].wanted.modes == {}

    async def test_a_listener_that_does_not_run_is_named(self, manager: ListenerManager) -> None:
        with pytest.raises(LookupError, match="account 5 has no running listener"):
            await manager.unsubscribe_symbols(5, [INFY])

    async def test_the_accessor_gives_what_was_built(self, manager: ListenerManager) -> None:
        set_listener_manager(manager)
        assert get_listener_manager() is manager
        set_listener_manager(None)
