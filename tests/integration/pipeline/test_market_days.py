"""Holidays from the library, edited by people, and missed when they are not there: TK-05."""

from __future__ import annotations

from datetime import date, datetime, time
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from marketdata.domain.sessions import IST, Phase
from marketdata.marketdays import calendar_warnings, seed_ahead
from marketdata.models import MarketDay
from marketdata.wanted import read_calendar
from project.checks import calendar_is_filled

pytestmark = pytest.mark.django_db
NOVEMBER = datetime(2026, 11, 24, 11, 0, tzinfo=IST).timestamp()
DECEMBER = datetime(2026, 12, 1, 11, 0, tzinfo=IST).timestamp()


def test_a_seeded_year_has_the_exchanges_holidays():
    assert calendar_warnings(NOVEMBER)
    count = seed_ahead(NOVEMBER)
    assert count == MarketDay.objects.count() > 20
    calendar = read_calendar(always=False)
    for exchange in ("NSE", "BSE", "NFO", "BFO"):
        assert calendar.phase(exchange, NOVEMBER)[0] is Phase.CLOSED_DAY  # Guru Nanak Jayanti
    assert calendar.phase("MCX", NOVEMBER)[0] is Phase.OPEN
    assert calendar_warnings(NOVEMBER) == []
    assert seed_ahead(NOVEMBER) == 0


def test_in_december_the_next_year_counts_too():
    seed_ahead(NOVEMBER)
    assert [text for text in calendar_warnings(DECEMBER) if "2027" in text]
    assert seed_ahead(DECEMBER) > 0
    assert calendar_warnings(DECEMBER) == []


def test_what_a_person_entered_or_deleted_stays():
    MarketDay.objects.create(
        exchange="NSE", date=date(2026, 11, 24), opens_at=time(18), closes_at=time(19), note="evening"
    )
    seed_ahead(NOVEMBER)
    assert MarketDay.objects.get(exchange="NSE", date=date(2026, 11, 24)).note == "evening"
    MarketDay.objects.filter(exchange="BSE", date=date(2026, 12, 25)).delete()
    seed_ahead(NOVEMBER)
    assert not MarketDay.objects.filter(exchange="BSE", date=date(2026, 12, 25)).exists()
    call_command("seed_market_days", "--year=2026", "--force", stdout=StringIO())
    assert MarketDay.objects.filter(exchange="BSE", date=date(2026, 12, 25)).exists()


def test_the_command_says_what_it_did_and_refuses_a_senseless_year():
    out = StringIO()
    call_command("seed_market_days", "--year=2026", stdout=out)
    assert "market days of 2026 entered for NSE and BSE" in out.getvalue()
    with pytest.raises(CommandError, match="--year 26: give one from 2000"):
        call_command("seed_market_days", "--year=26")


def test_an_empty_year_is_warned_about_where_the_database_is_checked(settings: Settings):
    settings.MARKET_HOURS = "exchange"
    assert [message.id for message in calendar_is_filled(None, databases=["default"])] == ["project.W001"] * 2
    assert calendar_is_filled(None) == []
    settings.MARKET_HOURS = "always"
    assert calendar_is_filled(None, databases=["default"]) == []
