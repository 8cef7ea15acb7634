"""The cockpit: cards and badges say how everything is, to whoever may know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from marketdata.models import BrokerAccount, Instrument, Listener
from project.cockpit.badges import asked_for
from strategies import services
from strategies.alerts import commit_alert
from strategies.models import Strategy
from tests.support.live import LivePage, session_cookie
from tests.support.people import new_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.filterwarnings("ignore:No directory at")]
PATH = "/ws/admin/"


@pytest.fixture
def strategy(user: User, account: BrokerAccount, instruments: Mapping[str, Instrument]) -> Strategy:
    row = Strategy.objects.create(
        user=user, account=account, instrument=instruments["NSE:INFY"], name="Infosys", position="BOUGHT",
        quantity=10, stop_loss=Decimal("1490.00"),
    )  # fmt: skip
    return services.start_strategy(row, by=user)


def hire(*codenames: str) -> User:
    person = new_user("staff", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return person


def report(account: BrokerAccount, state: str = "connected") -> None:
    now = timezone.now() + timedelta(minutes=5)  # fresh for the whole test
    told = {"state": state, "reported_at": now, "last_tick_at": now, "subscription_count": 3}
    Listener.objects.update_or_create(account=account, defaults=told)


def index_of(person: User) -> str:
    client = Client()
    client.force_login(person)
    return client.get("/admin/").content.decode()


def test_the_index_says_how_everything_is(account: BrokerAccount, strategy: Strategy) -> None:
    root = new_user("root", is_staff=True, is_superuser=True)
    page = index_of(root)
    assert "0 of 1 armed stops watched" in page
    assert "the listeners are not running" in page
    assert "Not reporting: start the listeners" in page
    assert "There was none yet." in page

    report(account)
    commit_alert(user_id=strategy.user_id, kind="needs_human", text="look at it", at=timezone.now())
    services.exit_now(strategy)
    page = index_of(root)
    assert "No stop is armed" in page
    assert "1 waits for an answer, 1 urgent" in page
    assert "look at it" in page
    assert "1 under way" in page
    assert "3 instruments" in page


@pytest.mark.parametrize(
    ("permission", "card"),
    [("strategy", "protection"), ("listener", "listeners"), ("alert", "alerts"), ("exit", "exits")],
)
def test_a_card_is_for_those_who_may_see_its_rows(permission: str, card: str, strategy: Strategy) -> None:
    page = index_of(hire(f"view_{permission}"))
    shown = [name for name in ("protection", "listeners", "alerts", "exits") if f'id="card-{name}"' in page]
    assert shown == [card]
    assert "/listener/stop/" not in page  # that takes a permission more


def test_what_a_page_asks_for_is_bounded_and_no_code() -> None:
    many = ",".join(map(str, range(1, 1000)))
    asked = asked_for(f"strategy={many}&listener=1,x,%27%3B--,-3,99999999999999999999&exit=")
    assert len(asked["strategy"]) == 300
    assert asked["listener"] == {1}
    assert "exit" not in asked


# --- the socket -------------------------------------------------------------------------


async def socket_of(person: User | None, query: str = "listener=1") -> LivePage:
    cookie = await sync_to_async(session_cookie)(person) if person else ""
    return LivePage(cookie, path=f"{PATH}?{query}")


def rows(frame: dict[str, Any]) -> dict[tuple[str, int, str], list[str]]:
    return {(kind, pk, field): said for kind, pk, field, *said in frame["rows"]}


async def test_only_staff_is_let_in(user: User) -> None:
    async with await socket_of(None) as page:
        assert page.accepted
        assert await page.close_code() == 4401
    async with await socket_of(user) as page:
        assert await page.close_code() == 4403


async def test_another_site_s_page_is_refused() -> None:
    person = await sync_to_async(hire)()
    cookie = await sync_to_async(session_cookie)(person)
    async with LivePage(cookie, path=PATH, origin="http://evil.example") as page:
        assert not page.accepted


async def test_badges_come_at_once_and_then_what_changes(account: BrokerAccount, strategy: Strategy) -> None:
    await sync_to_async(report)(account)
    person = await sync_to_async(hire)("view_listener", "view_strategy")
    query = f"listener={account.pk}&strategy={strategy.pk}&protection=0"
    async with await socket_of(person, query) as page:
        first = rows(await page.next())
        assert first["listener", account.pk, "state"] == ["Connected", "good"]
        assert first["protection", 0, "score"] == ["1 of 1 armed stops watched", "good"]
        assert first["strategy", strategy.pk, "state"] == ["Armed", "good"]

        await sync_to_async(report)(account, "connecting")
        later = rows(await page.next(timeout=5))
        assert later["listener", account.pk, "state"] == ["Connecting", "busy"]
        assert later["strategy", strategy.pk, "state"] == ["Armed, not watched", "bad"]
        assert ("listener", account.pk, "carries") not in later
        assert (await page.next(timeout=5))["rows"] == []


async def test_a_socket_tells_what_its_user_may_see_and_no_more(
    account: BrokerAccount, strategy: Strategy
) -> None:
    person = await sync_to_async(hire)("view_listener")
    query = f"listener={account.pk}&strategy={strategy.pk}&protection=0&alerts=0&exits=0"
    async with await socket_of(person, query) as page:
        assert {kind for kind, *_ in rows(await page.next())} == {"listener"}

        # A permission that is taken away is gone from the next look on; so is the whole staff.
        await sync_to_async(person.user_permissions.clear)()
        await sync_to_async(report)(account, "connecting")
        assert (await page.next(timeout=5))["rows"] == []
        await User.objects.filter(pk=person.pk).aupdate(is_staff=False)
        assert await page.close_code(timeout=5) == 4403


async def test_the_socket_ends_with_the_session_and_takes_nothing() -> None:
    person = await sync_to_async(hire)("view_listener")
    async with await socket_of(person) as page:
        await page.next()
        await Session.objects.all().adelete()
        assert await page.close_code(timeout=5) == 4401
    async with await socket_of(person) as page:
        await page.send({"type": "stop", "listener": 1})
        assert await page.close_code() == 1003
