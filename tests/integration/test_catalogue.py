from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from marketdata import catalogue as lists
from marketdata.catalogue import Catalogue, find_instruments
from marketdata.models import BrokerAccount, Instrument, InstrumentList

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    lists._kept.clear()
    yield
    lists._kept.clear()


def row(
    symbol: str, name: str = "", kind: str = "EQ", expiry: date | None = None, **fields: object
) -> Instrument:
    exchange, _, tradingsymbol = symbol.partition(":")
    given = {"broker": "zerodha", "token": f"t-{symbol}", **fields}
    return Instrument(
        exchange=exchange,
        tradingsymbol=tradingsymbol,
        name=name,
        instrument_type=kind,
        expiry=expiry,
        **given,
    )


@pytest.fixture
def listed(db: None) -> None:
    soon, past = timezone.localdate() + timedelta(days=20), timezone.localdate() - timedelta(days=1)
    Instrument.objects.bulk_create(
        [
            row("NFO:INFY26DEC1500CE", "INFY", "CE", soon),
            row("NFO:INFY26DECFUT", "INFY", "FUT", soon),
            row("NSE:INFY", "Infosys Limited"),
            row("BSE:INFY", "Infosys Limited"),
            row("NSE:INFIBEAM", "Infibeam Avenues"),
            row("NSE:NIFTY 50", "NIFTY 50", "INDEX"),
            row("NSE:TCS", "Tata Consultancy Services"),
            row("NSE:GONE", "Infosys of old", token=""),
            row("NFO:INFY26NOVFUT", "INFY", "FUT", past),
            row("NSE:INFY", "Infosys Ltd", broker="dhan"),
            row("NSE:ONLYDHAN", "Only Dhan lists it", broker="dhan"),
        ]
    )


def symbols(typed: str, *brokers: str, limit: int = 12) -> list[str]:
    return [found.symbol for found in find_instruments(brokers or ("zerodha",), typed, limit)]


@pytest.mark.usefixtures("listed")
def test_the_symbol_itself_comes_first_then_what_begins_so() -> None:
    assert symbols("infy") == ["NSE:INFY", "BSE:INFY", "NFO:INFY26DECFUT", "NFO:INFY26DEC1500CE"]
    assert symbols("nse:infy") == ["NSE:INFY"]
    assert symbols("infy ce") == ["NFO:INFY26DEC1500CE"]
    assert symbols("nifty 50") == ["NSE:NIFTY 50"]


@pytest.mark.usefixtures("listed")
def test_names_are_searched_too_and_what_is_gone_is_not_offered() -> None:
    assert set(symbols("infosys")) == {"NSE:INFY", "BSE:INFY"}
    assert symbols("consultancy tata") == ["NSE:TCS"]
    assert "NFO:INFY26NOVFUT" not in symbols("infy")
    assert symbols("") == symbols(" : ") == symbols("nothing like it") == []
    assert len(symbols("in", limit=2)) == 2


@pytest.mark.usefixtures("listed")
def test_a_contract_of_two_brokers_is_found_once_and_a_new_import_is_seen() -> None:
    assert symbols("infy", "zerodha", "dhan").count("NSE:INFY") == 1

    known = InstrumentList.objects.create(broker="zerodha", imported_at=timezone.now())
    assert symbols("newcomer") == []
    Instrument.objects.bulk_create([row("NSE:NEWCOMER")])
    assert symbols("newcomer") == []  # kept until the next import
    known.imported_at = timezone.now()
    known.save()
    assert symbols("newcomer") == ["NSE:NEWCOMER"]


@pytest.mark.usefixtures("listed")
def test_a_user_is_offered_what_their_own_brokers_list(
    client: Client, user: User, account: BrokerAccount
) -> None:
    assert client.get("/instruments/?q=infy").status_code == 302
    client.force_login(user)
    offered = client.get("/instruments/?q=infosys").json()["instruments"]
    assert {one["symbol"] for one in offered} == {"NSE:INFY", "BSE:INFY"}
    assert client.get("/instruments/?q=onlydhan").json()["instruments"] == []
    assert client.get("/instruments/").json()["instruments"] == []


def test_a_list_of_the_day_is_searched_within_milliseconds() -> None:
    kinds = ("CE", "PE")
    names = [f"{chr(65 + n % 26)}{chr(65 + n // 26 % 26)}COMPANY{n}" for n in range(200)]
    catalogue = Catalogue(
        (f"{names[n % 200]}26DEC{n}{kinds[n % 2]}", names[n % 200], "NFO", kinds[n % 2], None, 75)
        for n in range(120_000)
    )

    def worst(text: str) -> float:
        start = time.thread_time()  # not the clock on the wall: other tests may use the machine
        for matches in catalogue.passes(text):
            for _ in zip(matches, range(12), strict=False):
                pass
        return time.thread_time() - start

    assert max(worst(text) for text in ("AACOMPANY0", "COMPANY", "A", "ZZZZ", "A 26DEC119 PE")) < 0.25
