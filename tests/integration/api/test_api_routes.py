"""What each route answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.utils import timezone

from marketdata import ltp
from marketdata.models import BrokerAccount, Instrument, Listener
from strategies.domain.exits import ExitState
from strategies.models import Exit, Strategy
from strategies.services import exit_now, start_strategy
from tests.support.api import Program
from tests.support.valkey import PrivateValkey

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


@pytest.fixture
def prices(valkey: PrivateValkey, settings: Any) -> Iterator[Any]:
    """A way to have the listeners' cache hold prices."""
    settings.REDIS_URL = valkey.url
    yield lambda **named: async_to_sync(_store)(
        {f"NSE:{name}": Decimal(text) for name, text in named.items()}
    )
    async_to_sync(ltp.close_cache)()


async def _store(found: Mapping[str, Decimal]) -> None:
    for symbol, price in found.items():
        await ltp.update_ltp_cache(symbol, price, timezone.now() if symbol == "NSE:INFY" else None)
    await ltp.close_cache()


def test_a_strategy_is_armed_moved_exited_and_told_of(program: Program, strategy: Strategy) -> None:
    [row] = program.get("strategies", status="draft")["items"]
    assert row["symbol"] == "NSE:INFY"
    assert (row["stop_loss"], row["tick_size"], row["quantity"], row["live"]) == (
        "1490.00",
        "0.05",
        10,
        False,
    )

    assert program.post(f"strategies/{strategy.pk}/start")["status"] == "active"
    assert (
        program.post(f"strategies/{strategy.pk}/stop-price", {"stop_loss": "1485.55"})["stop_loss"]
        == "1485.55"
    )
    assert program.post(f"strategies/{strategy.pk}/stop")["status"] == "closed"
    program.post(f"strategies/{strategy.pk}/start")
    assert program.post(f"strategies/{strategy.pk}/exit")["status"] == "exiting"
    [told] = program.get("exits", strategy=strategy.pk)["items"]
    assert (told["state"], told["reason"], told["quantity"]) == ("triggered", "manual", 10)
    assert told["sentence"] == "Triggered: reading the position."
    assert program.get(f"exits/{told['id']}") == told


def test_a_stop_that_the_price_has_passed_is_not_armed(
    program: Program, strategy: Strategy, prices: Any
) -> None:
    prices(INFY="1489.95")
    program.post(f"strategies/{strategy.pk}/start", key="k1")
    assert program.refused()[:2] == (409, "refused")
    assert program.refused()[2].startswith("NSE:INFY trades at 1489.95, already at or below the stop 1490")
    start_strategy(strategy)
    program.post(f"strategies/{strategy.pk}/stop-price", {"stop_loss": "1489.95"})
    assert program.refused()[:2] == (422, "invalid")
    assert program.told()["error"]["field"] == "stop_loss"


def test_lists_come_in_pages(program: Program, strategy: Strategy) -> None:
    for _ in range(2):
        strategy.pk = None
        strategy.save(force_insert=True)
    first = program.get("strategies", limit=2)
    second = program.get("strategies", limit=2, after=first["next"])
    assert [len(first["items"]), len(second["items"]), second["next"]] == [2, 1, None]


def test_a_person_s_decision_on_an_exit(program: Program, strategy: Strategy) -> None:
    exit_now(start_strategy(strategy))
    row = Exit.objects.get()
    program.post(f"exits/{row.pk}/retry")
    assert program.refused()[:2] == (409, "refused")
    Exit.objects.update(state=ExitState.NEEDS_HUMAN)
    assert program.post(f"exits/{row.pk}/retry")["state"] == "needs_human"
    assert program.post(f"exits/{row.pk}/abandon")["state"] == "aborted"
    assert program.get(f"strategies/{strategy.pk}")["status"] == "closed"


def test_alerts_are_acknowledged_once(program: Program, strategy: Strategy, user: User) -> None:
    alert = user.alerts.create(
        strategy=strategy, kind="unknown", text="No answer.", cause="x", created_at=timezone.now()
    )
    [told] = program.get("alerts", waiting=True)["items"]
    assert (told["id"], told["text"], told["acknowledged_at"]) == (alert.pk, "No answer.", None)
    first = program.post(f"alerts/{alert.pk}/acknowledge")
    assert first["acknowledged_at"] is not None
    assert program.post(f"alerts/{alert.pk}/acknowledge") == first
    assert program.get("alerts", waiting=True)["items"] == []
    assert len(program.get("alerts")["items"]) == 1


def test_a_listener_is_asked_for_and_says_what_would_be_lost(
    program: Program, strategy: Strategy, account: BrokerAccount
) -> None:
    start_strategy(strategy)
    now = timezone.now()
    Listener.objects.create(account=account, state="connected", reported_at=now, last_tick_at=now)
    [row] = program.get("listeners")["items"]
    assert (row["id"], row["wanted"], row["state"], row["is_ticking"]) == (
        account.pk,
        "running",
        "connected",
        True,
    )

    program.post(f"listeners/{account.pk}/stop")
    assert program.refused()[:2] == (409, "still_watching")
    assert program.refused()[2].startswith("1 strategy is watched through Test.")
    assert program.post(f"listeners/{account.pk}/stop", {"even_watching": True})["wanted"] == "stopped"
    assert program.post(f"listeners/{account.pk}/restart")["wanted"] == "running"
    account.refresh_from_db()
    assert account.generation == 1


def test_the_status_is_the_user_s_own(program: Program, strategy: Strategy, account: BrokerAccount) -> None:
    start_strategy(strategy)
    told = program.get("status")
    assert told["status"] == "degraded"
    assert list(told["listeners"]) == [f"zerodha:{account.pk}"]
    [missing] = told["protection"]["unprotected"]
    assert missing == {"strategy": strategy.pk, "reason": "the listeners are not running"}


def test_instruments_are_found_by_symbol_and_by_name(
    program: Program, account: BrokerAccount, instruments: Mapping[str, Instrument]
) -> None:
    Instrument.objects.create(
        broker="zerodha", exchange="NFO", tradingsymbol="INFY26DECFUT", token="1", name="INFOSYS", instrument_type="FUT",
        lot_size=400,
    )  # fmt: skip
    Instrument.objects.create(broker="dhan", exchange="NSE", tradingsymbol="INFY", token="2")

    def names(**query: object) -> list[str]:
        return [row["symbol"] for row in program.get("instruments", **query)["items"]]

    assert names(q="infy") == ["NSE:INFY", "NFO:INFY26DECFUT"]
    assert names(q="NFO:IN") == names(q="fut infosys") == ["NFO:INFY26DECFUT"]
    assert names(q="infy", broker="dhan") == ["NSE:INFY"]
    assert names(q="no such thing") == []
    for typed in ("", "in\0fy"):
        program.get("instruments", q=typed)
        assert program.refused()[:2] == (422, "invalid")


def test_a_quote_has_an_age_and_an_old_one_is_missing(
    program: Program, strategy: Strategy, instruments: Mapping[str, Instrument], prices: Any, settings: Any
) -> None:
    start_strategy(strategy)
    prices(INFY="1499.95", SBIN="800")
    told = program.get("quotes")
    [quote] = told["items"]
    assert (quote["symbol"], quote["price"], quote["known_by"]) == ("NSE:INFY", "1499.95", "exchange_time")
    assert 0 <= quote["age_s"] < 10
    assert told["missing"] == []

    told = program.get("quotes", symbols="nse:infy, NSE:SBIN")
    assert [row["symbol"] for row in told["items"]] == ["NSE:INFY"]
    assert [(row["symbol"], row["reason"][:19]) for row in told["missing"]] == [
        ("NSE:SBIN", "you do not watch it")
    ]

    settings.LTP_TTL_S = 0
    told = program.get("quotes")
    assert told["items"] == []
    assert told["missing"][0]["reason"].startswith("no price was received in the last 0 s")


NEW = {
    "symbol": "nse:infy", "position": "BOUGHT", "product": "MIS", "quantity": 10, "stop_loss": "1490.05",
}  # fmt: skip


def test_a_strategy_is_entered_changed_and_deleted(
    program: Program, account: BrokerAccount, instruments: Mapping[str, Instrument]
) -> None:
    made = program.post("strategies", {"account": account.pk, **NEW}, key="k1")
    assert program.heard.status_code == 201
    assert (made["status"], made["symbol"], made["stop_loss"], made["live"]) == (
        "draft",
        "NSE:INFY",
        "1490.05",
        False,
    )
    assert program.post("strategies", {"account": account.pk, **NEW}, key="k1") == made
    assert Strategy.objects.count() == 1

    path = f"strategies/{made['id']}"
    changed = program.send(
        "patch", path, {"symbol": "NSE:SBIN", "stop_loss": "800", "quantity": 5, "live": True}
    )
    assert changed == {
        **made,
        "symbol": "NSE:SBIN",
        "name": changed["name"],
        "stop_loss": "800.00",
        "quantity": 5,
        "live": True,
    }
    program.post(f"{path}/start")
    program.send("patch", path, {"quantity": 6})
    assert program.refused()[:2] == (409, "refused")
    assert program.send("patch", path, {"name": "Swing"})["name"] == "Swing"
    program.send("delete", path)
    assert program.refused() == (409, "refused", "Swing is active and cannot be deleted.")

    draft = program.post("strategies", {"account": account.pk, **NEW})
    assert program.send("delete", f"strategies/{draft['id']}", key="k2") == {"deleted": draft["id"]}
    assert program.send("delete", f"strategies/{draft['id']}", key="k2") == {"deleted": draft["id"]}
    program.get(f"strategies/{draft['id']}")
    assert program.refused()[0] == 404


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"account": 0}, "There is no account 0 of yours"),
        ({"symbol": "NSE:INFI"}, "NSE:INFI is not in the instrument list of Zerodha: did you mean NSE:INFY?"),
        ({"quantity": 0}, "A position needs the quantity held: set it above 0."),
        ({"quantity": "10"}, "quantity: '10' is not accepted."),
        ({"quantity": 10.5}, "quantity: 10.5 is not accepted."),
        ({"stop_loss": None}, "A position needs a stop-loss"),
        ({"stop_loss": 1490.05}, "1490.05 is a JSON number, which is not exact"),
        ({"entry_price": "1500.01"}, "1500.01 is between two ticks of 0.05: use 1500 or 1500.05."),
        ({"product": "NRML"}, "NRML is for futures and options"),
        ({"position": "LONG"}, "position: 'LONG' is not accepted."),
        ({"live": "yes"}, "live: 'yes' is not accepted."),
        ({"name": "x" * 81}, "is not accepted."),
        ({"status": "active"}, "status is not a field of this request"),
    ],
)  # fmt: skip
def test_what_the_page_refuses_is_refused_here_in_the_same_words(
    program: Program,
    account: BrokerAccount,
    instruments: Mapping[str, Instrument],
    sent: dict[str, Any],
    says: str,
) -> None:
    program.post("strategies", {"account": account.pk, **NEW, **sent})
    assert program.refused()[:2] == (422, "invalid")
    assert says in program.refused()[2]
    assert program.told()["error"]["field"] == next(iter(sent))
    assert not Strategy.objects.exists()
