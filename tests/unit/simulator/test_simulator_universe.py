from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal

import pytest

from marketdata.simulator import expiries
from marketdata.simulator.universe import Listing, equity_tick, universe
from tests.unit.simulator.conftest import DAY


@pytest.fixture
def by_symbol(listings: list[Listing]) -> dict[str, Listing]:
    return {listing.symbol: listing for listing in listings}


def test_lists_thousands_over_all_exchanges(listings: list[Listing]) -> None:
    exchanges = Counter(listing.contract.exchange for listing in listings)
    assert len(listings) == 3_000
    assert exchanges.keys() == {"NSE", "BSE", "NFO", "BFO", "CDS", "MCX"}
    assert min(exchanges.values()) >= 50


def test_symbols_and_codes_are_unique(listings: list[Listing]) -> None:
    assert len({listing.symbol for listing in listings}) == len(listings)
    codes = {(li.contract.exchange, li.is_index, li.contract.token) for li in listings}
    assert len(codes) == len(listings)


@pytest.mark.parametrize(
    ("symbol", "token", "tick", "lot", "freeze"),
    [
        ("NSE:INFY", "1594", "0.05", 1, None),
        ("BSE:SBIN", "500112", "0.05", 1, None),
        ("NSE:NIFTY 50", "1001", "0.05", 0, None),
        ("NFO:NIFTY26NOVFUT", None, "0.1", 65, 1800),
        ("NFO:NIFTY26D0125900CE", None, "0.05", 65, 1800),
        ("NFO:NIFTY26NOV25900PE", None, "0.05", 65, 1800),
        ("BFO:SENSEX26NOV84800CE", None, "0.05", 20, 1000),
        ("CDS:USDINR26NOVFUT", None, "0.0025", 1, 10_000),
        ("CDS:USDINR26NOV88.75CE", None, "0.0025", 1, 10_000),
        ("MCX:GOLD26DECFUT", None, "1", 1, 10),
        ("MCX:CRUDEOIL26DEC5250PE", None, "0.05", 1, 100),
    ],
)
def test_knows_real_contracts(
    by_symbol: dict[str, Listing], *, symbol: str, token: str | None, tick: str, lot: int, freeze: int | None
) -> None:
    contract = by_symbol[symbol].contract
    assert token in (None, contract.token)
    assert (contract.tick_size, contract.lot_size, contract.freeze_quantity) == (Decimal(tick), lot, freeze)


def test_every_reference_is_positive_and_on_the_grid(listings: list[Listing]) -> None:
    assert all(li.reference > 0 and li.reference % li.tick == 0 for li in listings)


def test_nothing_listed_has_expired(listings: list[Listing]) -> None:
    assert all(li.contract.expiry >= DAY for li in listings if li.contract.expiry)


def test_a_larger_universe_begins_with_the_smaller(listings: list[Listing]) -> None:
    assert universe(DAY, 4_000)[:3_000] == listings


@pytest.mark.parametrize("size", [0, 1_999, 150_001])
def test_refuses_a_size_it_does_not_have(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} instruments: choose between"):
        universe(DAY, size)


@pytest.mark.parametrize("day", [date(2026, 12, 31), date(2027, 1, 26), date(2028, 2, 29)])
def test_any_day_has_a_universe(day: date) -> None:
    assert len({listing.symbol for listing in universe(day)}) == 3_000


def test_expiries() -> None:
    assert expiries.monthly(date(2026, 11, 24), 1, 2) == [date(2026, 11, 24), date(2026, 12, 29)]
    assert expiries.monthly(date(2026, 11, 25), 1, 1) == [date(2026, 12, 29)]
    assert expiries.weekly(date(2026, 11, 25), 1, 2) == [date(2026, 12, 1), date(2026, 12, 8)]
    assert expiries.month_day(2026, 12, 5) == date(2026, 12, 4)  # a Saturday: the Friday before
    assert expiries.week_code(date(2026, 10, 6)) == "26O06"


@pytest.mark.parametrize(
    ("price", "tick"), [("249.99", "0.01"), ("250", "0.05"), ("5000", "0.5"), ("154000", "5")]
)
def test_equity_tick(price: str, tick: str) -> None:
    assert equity_tick(Decimal(price)) == Decimal(tick)
