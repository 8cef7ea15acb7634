"""One name per contract: whatever the exchange lists, both brokers' lists call it the same."""

from __future__ import annotations

import gzip
from collections import Counter
from datetime import date, datetime, timedelta

import pytest

from marketdata.brokers.dhan.instruments import DhanInstruments
from marketdata.brokers.dhan.simulated import catalogue as dhan
from marketdata.brokers.dhan.simulated import scrip_master
from marketdata.brokers.zerodha.instruments import KiteInstruments
from marketdata.brokers.zerodha.simulated import catalogue as kite
from marketdata.domain.instruments import Contract
from marketdata.simulator.accounts import Accounts
from marketdata.simulator.exchange import IST, Exchange
from marketdata.simulator.universe import universe
from tests.unit.simulator.conftest import ManualClock

FIRST = date(2026, 11, 2)
DAYS = [FIRST + timedelta(days=17 * n) for n in range(22)]  # a year, every weekday, ends of months
NOT_DEALT_IN = {
    "NSE:731PFCL36-N0", "NSE:743AP31-SG", "NSE:SGBFEB27-GB", "NSE:RELIANCE-W1", "NSE:RAJESHEXPO-BZ", "BSE:JETKINGQ",
}  # fmt: skip
"""What Dhan's list has beside what is listed here."""


def exchange_of(day: date) -> Exchange:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=IST).timestamp()
    return Exchange(universe(day, 3_000), Accounts(1), ManualClock(noon))


def of_kite(exchange: Exchange) -> dict[str, Contract]:
    text = gzip.decompress(kite.Catalogue(exchange).dump()).decode()
    return {item.symbol: item for item in KiteInstruments().contracts(text.splitlines())}


def of_dhan(exchange: Exchange) -> dict[str, Contract]:
    instruments = list(exchange.instruments.values())
    securities = dhan.Catalogue(instruments).by_symbol
    text = scrip_master.csv((item, securities[item.symbol]) for item in instruments)
    left_out: Counter[str] = Counter()
    found = list(DhanInstruments().contracts(text.splitlines(), left_out))
    assert not left_out
    assert len({item.token for item in found}) == len(found)
    return {item.symbol: item for item in found}


def terms(item: Contract) -> tuple[object, ...]:
    tick = None if item.instrument_type == "INDEX" else item.tick_size  # Kite's list has none for indices
    return item.instrument_type, item.lot_size, tick, item.expiry, item.strike


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_both_lists_name_every_contract_the_same(day: date) -> None:
    exchange = exchange_of(day)
    theirs, ours = of_dhan(exchange), of_kite(exchange)
    assert theirs.keys() - ours.keys() == NOT_DEALT_IN
    assert len(ours) == 3_000
    for symbol, item in ours.items():
        assert terms(theirs[symbol]) == terms(item), symbol
