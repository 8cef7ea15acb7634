"""Unprotected stops and logins that will be missing, told by the listeners' process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async

from marketdata.domain.sessions import IST, Calendar
from marketdata.models import BrokerAccount, Instrument, Listener
from marketdata.reporting import FAILING
from project.lookout import Lookout
from strategies.alerts import commit_alert
from strategies.models import Alert, Strategy
from strategies.services import start_strategy
from tests.fakes.clock import HandClock
from tests.support.exits import Told, make

pytestmark = pytest.mark.django_db(transaction=True)
Instruments = Mapping[str, Instrument]
MORNING = datetime(2026, 11, 23, 8, 29, tzinfo=IST)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(datetime(2026, 11, 23, 11, 0, tzinfo=IST).timestamp())


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def armed(account: BrokerAccount, instruments: Instruments) -> list[Strategy]:
    symbols = ("NSE:INFY", "NSE:SBIN")
    made = [make(account, instruments[symbol], name=symbol, stop_loss=Decimal(1000)) for symbol in symbols]
    return [start_strategy(one) for one in made]


@pytest.fixture
async def lookout(told: Told, clock: HandClock, armed: list[Strategy]) -> AsyncIterator[Lookout]:
    built = Lookout(told, clock, Calendar, lambda: {armed[0].user_id})
    yield built
    built.close()


def report(clock: HandClock, account: BrokerAccount, state: str, error: str = "") -> None:
    now = datetime.fromtimestamp(clock.now, UTC)
    values = {"state": state, "reported_at": now, "last_tick_at": now, "last_error": error}
    Listener.objects.update_or_create(account=account, defaults=values)


async def passes(lookout: Lookout, clock: HandClock, seconds: float, write: Callable[[], None]) -> None:
    """Let time pass as it does: a report and a look every five seconds."""
    for _ in range(int(seconds // 5) + 1):
        await sync_to_async(write)()
        await lookout.look()
        clock.advance(5)


def open_alerts(kind: str = "unprotected") -> list[Alert]:
    return list(Alert.objects.filter(kind=kind, closed_at=None).order_by("pk"))


async def test_a_feed_that_stays_away_is_one_alert_with_its_strategies(
    lookout: Lookout, clock: HandClock, told: Told, account: BrokerAccount
) -> None:
    def down() -> None:
        report(clock, account, "connecting", "connection refused")

    await passes(lookout, clock, 15, down)
    assert told.alerts() == []
    await passes(lookout, clock, 5, down)
    [row] = await sync_to_async(open_alerts)()
    assert told.alerts() == [row.text]
    assert row.text.startswith(
        "2 stops are not protected: the feed of Test is not connected: connection refused"
    )
    assert "Without a sure watch: NSE:INFY, NSE:SBIN." in row.text
    assert (row.account_id, row.urgency, row.mode) == (account.pk, "urgent", "simulator")
    assert not lookout.is_well()

    await passes(lookout, clock, 0, lambda: report(clock, account, "connected"))
    assert await sync_to_async(open_alerts)() == []
    assert lookout.is_well()


async def test_the_first_word_of_the_feed_gives_way_to_it(
    lookout: Lookout, clock: HandClock, account: BrokerAccount
) -> None:
    def first_word() -> None:
        at = datetime.fromtimestamp(clock.now, UTC)
        for cause in (FAILING, "clock"):
            commit_alert(
                user_id=account.user_id, kind="feed", text=cause, at=at, account_id=account.pk,
                urgency="info", cause=cause,
            )  # fmt: skip

    await sync_to_async(first_word)()
    await passes(lookout, clock, 20, lambda: report(clock, account, "connecting"))
    assert [row.text for row in await sync_to_async(open_alerts)("feed")] == ["clock"]


async def test_nothing_is_told_while_no_stop_can_trigger(
    lookout: Lookout, clock: HandClock, account: BrokerAccount, told: Told
) -> None:
    clock.now = datetime(2026, 11, 23, 16, 0, tzinfo=IST).timestamp()
    await passes(lookout, clock, 60, lambda: report(clock, account, "connecting"))
    assert told.alerts() == []
    assert lookout.is_well()


async def test_whoever_is_not_owned_here_is_told_elsewhere_and_yet_nothing_is_well(
    told: Told, clock: HandClock, armed: list[Strategy]
) -> None:
    lookout = Lookout(told, clock, Calendar, set)
    await passes(lookout, clock, 25, lambda: None)
    assert told.alerts() == []
    assert not lookout.is_well()
    lookout.close()


async def test_a_login_that_will_be_missing_is_reminded_of_three_times_and_ends_with_the_login(
    lookout: Lookout, clock: HandClock, account: BrokerAccount, told: Told
) -> None:
    def expire(hour: int) -> None:
        ends = MORNING.replace(hour=hour, minute=0)
        BrokerAccount.objects.filter(pk=account.pk).update(token_expires_at=ends)

    await sync_to_async(expire)(6)
    said: list[tuple[int, str]] = []
    for minutes in range(40):  # to 09:09
        clock.now = (MORNING + timedelta(minutes=minutes)).timestamp()
        await lookout.look()
        said += [(minutes, text) for text in told.alerts()[len(said) :]]
    assert [minutes for minutes, _ in said] == [1, 26, 36]
    assert said[0][1] == (
        "Test is not logged in, and its stops need Zerodha all through today's session. "
        "Log in now: open Tickguard's live page, and Log in at the listener of Test."
    )
    rows = [row async for row in Alert.objects.order_by("pk").values_list("urgency", "closed_at")]
    assert [urgency for urgency, _ in rows] == ["info", "urgent", "urgent"]
    assert [closed is None for _, closed in rows] == [False, False, True]

    await sync_to_async(expire)(18)
    await lookout.look()
    assert await sync_to_async(open_alerts)("login_due") == []


async def test_a_login_that_ends_in_the_session_says_when(
    lookout: Lookout, clock: HandClock, account: BrokerAccount, told: Told
) -> None:
    ends = MORNING.replace(hour=11, minute=0)
    await BrokerAccount.objects.filter(pk=account.pk).aupdate(token_expires_at=ends)
    clock.now = MORNING.replace(minute=31).timestamp()
    await lookout.look()
    assert told.alerts()[0].startswith("Test is logged in only until 11:00 IST, and")


async def test_a_login_that_the_broker_refused_is_none(
    lookout: Lookout, clock: HandClock, account: BrokerAccount, told: Told
) -> None:
    clock.now = MORNING.replace(minute=31).timestamp()
    await sync_to_async(report)(clock, account, "login_needed")
    await lookout.look()
    assert len(told.alerts()) == 1


async def test_with_nothing_armed_nobody_is_reminded(
    lookout: Lookout, clock: HandClock, account: BrokerAccount, told: Told
) -> None:
    await Strategy.objects.aupdate(status="closed")
    await BrokerAccount.objects.aupdate(access_token="")
    clock.now = MORNING.replace(minute=31).timestamp()
    await lookout.look()
    assert told.alerts() == []
