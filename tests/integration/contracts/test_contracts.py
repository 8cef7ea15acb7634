"""Contracts that end or are given to others: TK-17, TK-18, TK-19."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from pytest_django import Settings

from marketdata.domain.instruments import Contract
from marketdata.domain.sessions import IST, Calendar
from marketdata.importing import import_contracts
from marketdata.lists import list_warnings
from marketdata.models import Instrument, InstrumentList, Subscription
from strategies.arming import ArmedReader
from strategies.contracts import ContractNews
from strategies.models import Alert, Strategy
from strategies.services import StrategyError, start_strategy
from tests.fakes.clock import HandClock
from tests.support.exits import Told, make

pytestmark = pytest.mark.django_db
TUESDAY = date(2026, 11, 24)
CALL = Contract(
    "NFO", "NIFTY26NOV24500CE", "1001", "NIFTY", "CE", 75, Decimal("0.05"), TUESDAY, Decimal(24500)
)


@pytest.fixture
def strategy(account) -> Strategy:
    import_contracts("zerodha", [CALL])
    [instrument] = Instrument.objects.filter(tradingsymbol=CALL.tradingsymbol)
    return start_strategy(make(account, instrument, stop_loss=Decimal(100), product="NRML"))


def reasons() -> list[str]:
    return [row.reason for row in ArmedReader().read()[1]]


def test_the_same_contract_under_a_new_token_stays_armed(strategy):
    import_contracts("zerodha", [replace(CALL, token="2002", lot_size=65)])
    assert not reasons()
    assert [stop.strategy_id for stop in ArmedReader().read()[0]] == [strategy.pk]


@pytest.mark.parametrize(
    "other",
    [
        replace(CALL, expiry=date(2036, 11, 25)),
        replace(CALL, strike=Decimal(2450)),
        replace(CALL, instrument_type="PE"),
    ],
)
def test_a_name_that_stands_for_another_contract_is_not_armed(strategy, other):
    import_contracts("zerodha", [other])
    [reason] = reasons()
    assert "is another contract now" in reason
    assert "CE 2026-11-24 24500" in reason
    assert not ArmedReader().read()[0]


def test_a_token_that_was_given_to_another_contract_is_not_armed(strategy):
    other = replace(CALL, tradingsymbol="NIFTY26DEC24500CE", expiry=date(2026, 12, 29))
    import_contracts("zerodha", [other])
    assert reasons() == ["NFO:NIFTY26NOV24500CE is no longer in the broker's instrument list"]


def look(strategy: Strategy, at: str, *, calendar: Calendar | None = None) -> list[str]:
    """Look twice at that moment, and return what was told."""
    before = set(Alert.objects.values_list("pk", flat=True))
    clock = HandClock(datetime.fromisoformat(at).replace(tzinfo=IST).timestamp())
    for _ in range(2):
        ContractNews(Told(), clock).look(calendar or Calendar())
    strategy.refresh_from_db()
    return list(Alert.objects.exclude(pk__in=before).values_list("kind", flat=True))


def test_an_end_is_told_the_day_before_and_half_an_hour_before_and_takes_the_stop_off(strategy):
    assert look(strategy, "2026-11-20T11:00") == []  # Friday
    assert look(strategy, "2026-11-23T11:00") == ["expires_next"]
    assert look(strategy, "2026-11-24T14:59") == []
    assert look(strategy, "2026-11-24T15:01") == ["expires_now"]
    assert strategy.status == "active"
    assert look(strategy, "2026-11-24T15:30") == ["expired"]
    assert strategy.status == "closed"
    assert not Subscription.objects.exists()


def test_the_day_before_is_the_last_session_before(strategy):
    holiday = Calendar({("NSE", date(2026, 11, 23)): None})
    assert look(strategy, "2026-11-20T11:00", calendar=holiday) == ["expires_next"]


def test_one_that_ended_while_nothing_ran_is_closed_at_once(strategy):
    assert look(strategy, "2026-12-05T11:00") == ["expired"]
    assert strategy.status == "closed"


def test_without_hours_nothing_ends(strategy):
    assert look(strategy, "2026-12-05T11:00", calendar=Calendar(always=True)) == []


def test_what_has_expired_cannot_be_started(strategy, settings: Settings):
    settings.MARKET_HOURS = "exchange"
    Instrument.objects.update(expiry=timezone.now().date() - timedelta(days=3))
    Strategy.objects.update(status="closed")
    with pytest.raises(StrategyError, match="expired on"):
        start_strategy(strategy)


def test_a_list_older_than_a_day_is_warned_about_while_it_is_in_use(strategy):
    assert list_warnings() == []
    InstrumentList.objects.update(imported_at=timezone.now() - timedelta(hours=25))
    [text] = list_warnings()
    assert "import_instruments zerodha" in text
    Subscription.objects.all().delete()
    assert list_warnings() == []
