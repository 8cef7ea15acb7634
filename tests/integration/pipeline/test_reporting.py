"""Rows and events of feeds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User

from marketdata.accounts import broker_config
from marketdata.database import DatabaseThread
from marketdata.domain.feed import ListenerHealth, ListenerState
from marketdata.domain.ticks import FeedMode
from marketdata.feeds import FeedReport
from marketdata.models import BrokerAccount, Listener, ListenerEvent
from marketdata.reporting import FeedReporter
from marketdata.wanted import WantedFeed
from tests.fakes.clock import HandClock

pytestmark = pytest.mark.django_db(transaction=True)

WELL = ListenerHealth(
    state=ListenerState.CONNECTED,
    is_connected=True,
    is_ticking=True,
    subscribed_symbols=("NSE:INFY",),
    subscription_count=1,
    reconnect_attempts=0,
    last_frame_age_s=0.5,
    last_tick_age_s=2.0,
    bad_frames=0,
    callback_errors=0,
    last_error="",
)


class Pages:
    def __init__(self) -> None:
        self.told: list[tuple[int, str, Mapping[str, Any]]] = []

    def send(self, user_id: int, kind: str, body: Mapping[str, Any]) -> None:
        self.told.append((user_id, kind, body))

    def kinds(self) -> list[str]:
        return [kind for _, kind, _ in self.told]


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def owned() -> set[int]:
    """The users that are this worker's: nobody."""
    return set()


@pytest.fixture
async def reporter(
    pages: Pages, clock: HandClock, request: pytest.FixtureRequest
) -> AsyncIterator[FeedReporter]:
    """Everybody's, where the test does not say who is owned."""
    database = DatabaseThread("test-reports")
    owned = request.getfixturevalue("owned") if "owned" in request.fixturenames else None
    yield FeedReporter("w1", database, pages, clock, lambda: owned)
    database.close()


@pytest.fixture
def feed(account: BrokerAccount) -> WantedFeed:
    modes = {"NSE:INFY": FeedMode.FULL}
    return WantedFeed(account.user_id, broker_config(account), 3, modes, {"NSE:INFY": "408065"})


async def test_a_row_says_how_the_feed_is(reporter: FeedReporter, feed: WantedFeed, clock: HandClock) -> None:
    reporter.on_feed_event(feed, "connected", "")
    clock.advance(10)
    await reporter.write([FeedReport(feed, WELL, "")])
    row = await Listener.objects.aget()
    assert (row.state, row.worker, row.observed_generation, row.subscription_count) == (
        "connected",
        "w1",
        3,
        1,
    )
    assert row.connected_at is not None
    assert row.last_tick_at is not None
    assert row.reported_at is not None
    assert (row.reported_at - row.connected_at).total_seconds() == 10
    assert (row.reported_at - row.last_tick_at).total_seconds() == 2
    assert [event.kind async for event in ListenerEvent.objects.all()] == ["connected"]


async def test_rows_are_updated_in_place(reporter: FeedReporter, feed: WantedFeed) -> None:
    await reporter.write([FeedReport(feed, WELL, "")])
    broken = replace(WELL, state=ListenerState.CONNECTING, is_connected=False, last_error="refused")
    await reporter.write([FeedReport(feed, broken, "")])
    row = await Listener.objects.aget()
    assert (row.state, row.last_error, row.connected_at) == ("connecting", "refused", None)


async def test_what_no_longer_runs_here_is_stopped_and_anothers_is_left_alone(
    reporter: FeedReporter, feed: WantedFeed, account: BrokerAccount, owned: set[int]
) -> None:
    stranger = await User.objects.acreate(username="stranger")
    other = await BrokerAccount.objects.acreate(user=stranger, broker="zerodha")
    left = await BrokerAccount.objects.acreate(user_id=account.user_id, broker="zerodha")
    for known in (other, left):
        await Listener.objects.acreate(account=known, state="connected", worker="w2")
    owned.add(account.user_id)
    await reporter.write([FeedReport(feed, WELL, "")])
    await reporter.write_end()
    states = {row.account_id: row.state async for row in Listener.objects.all()}
    assert states == {account.pk: "stopped", left.pk: "stopped", other.pk: "connected"}


async def test_who_does_not_own_a_user_writes_nothing_of_theirs(
    reporter: FeedReporter, feed: WantedFeed, account: BrokerAccount, owned: set[int]
) -> None:
    await Listener.objects.acreate(account=account, state="connected", worker="w2")
    await reporter.write([FeedReport(feed, replace(WELL, state=ListenerState.STOPPED), "")])
    row = await Listener.objects.aget()
    assert (row.state, row.worker) == ("connected", "w2")


async def test_a_deleted_account_stops_no_other_report(
    reporter: FeedReporter, feed: WantedFeed, account: BrokerAccount
) -> None:
    gone = replace(feed, config=replace(feed.config, account_id=account.pk + 1000))
    reporter.on_feed_event(gone, "connected", "")
    await reporter.write([FeedReport(gone, WELL, ""), FeedReport(feed, WELL, "")])
    assert [row.account_id async for row in Listener.objects.all()] == [account.pk]


async def test_a_person_is_told_at_the_third_failure_and_events_do_not_pile_up(
    reporter: FeedReporter, feed: WantedFeed, pages: Pages
) -> None:
    for _ in range(20):
        reporter.on_feed_event(feed, "failed", "refused")
    assert pages.kinds() == ["alert"]
    await reporter.write([])
    assert await ListenerEvent.objects.acount() == 3


@pytest.mark.parametrize("kind", ["clock", "left_out"])
async def test_a_person_is_told_what_no_tick_can_trigger(
    reporter: FeedReporter, feed: WantedFeed, pages: Pages, kind: str
) -> None:
    reporter.on_feed_event(feed, kind, "its reason")
    assert pages.kinds() == ["alert"]
    await reporter.write([])
    assert (await ListenerEvent.objects.aget()).kind == kind


def flap(reporter: FeedReporter, feed: WantedFeed, clock: HandClock, *, lived_s: float) -> None:
    reporter.on_feed_event(feed, "connected", "")
    clock.advance(lived_s)
    reporter.on_feed_event(feed, "disconnected", "dropped")
    reporter.on_feed_event(feed, "failed", "dropped")


@pytest.mark.parametrize(("lived_s", "told"), [(1, ["alert"]), (60, [])])
async def test_a_connection_that_does_not_last_is_a_failure(
    reporter: FeedReporter,
    feed: WantedFeed,
    pages: Pages,
    clock: HandClock,
    *,
    lived_s: float,
    told: list[str],
) -> None:
    for _ in range(3):
        flap(reporter, feed, clock, lived_s=lived_s)
    assert pages.kinds() == told


async def test_a_dead_login_is_told_once(reporter: FeedReporter, feed: WantedFeed, pages: Pages) -> None:
    dead = replace(WELL, state=ListenerState.LOGIN_NEEDED, is_connected=False)
    for _ in range(3):
        await reporter.write([FeedReport(feed, dead, "")])
    assert pages.kinds() == ["alert", "listener"]
    assert "log in again" in pages.told[0][2]["text"]
    assert [event.kind async for event in ListenerEvent.objects.all()] == ["login_needed"]


async def test_events_a_broken_database_refused_are_written_later(
    reporter: FeedReporter, feed: WantedFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter.on_feed_event(feed, "connected", "")

    def fail(*_: object) -> None:
        raise RuntimeError("no database")

    with monkeypatch.context() as patch:
        patch.setattr("marketdata.reporting._write", fail)
        with pytest.raises(RuntimeError):
            await reporter.write([])
    reporter.on_feed_event(feed, "disconnected", "reset")
    await reporter.write([])
    assert [event.kind async for event in ListenerEvent.objects.order_by("id")] == [
        "connected",
        "disconnected",
    ]
