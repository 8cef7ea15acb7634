"""The CSV of the day: read exactly, refused by line."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from marketdata.brokers.zerodha.instruments import COLUMNS, KiteInstruments
from marketdata.domain.errors import BadReply
from marketdata.domain.instruments import Contract

RECORDED = Path(__file__).parents[2] / "data" / "zerodha" / "rest" / "instruments.csv"
HEADER = ",".join(COLUMNS)
EQUITY = '408065,1594,INFY,"INFOSYS, THE",0.0,,0.0,0.05,1,EQ,NSE,NSE'
OPTION = "12073986,47164,BANKNIFTY18JAN23500CE,,2528.4,2018-01-25,23500.0,0.05,40,CE,NFO-OPT,NFO"
INDEX = "256265,1001,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE"


def read(*rows: str) -> list[Contract]:
    return list(KiteInstruments().contracts([f"{row}\n" for row in rows]))


def test_the_recorded_rows_are_all_read() -> None:
    lines = RECORDED.read_text().splitlines(keepends=True)
    assert len(list(KiteInstruments().contracts(lines))) == len(lines) - 1 == 39


def test_an_equity_an_option_and_an_index() -> None:
    equity, option, index = read(HEADER, EQUITY, OPTION, INDEX)
    assert equity == Contract("NSE", "INFY", "408065", "INFOSYS, THE", "EQ", 1, Decimal("0.05"))
    assert (option.strike, option.expiry, option.lot_size) == (Decimal(23500), date(2018, 1, 25), 40)
    assert option.symbol == "NFO:BANKNIFTY18JAN23500CE"
    assert (index.instrument_type, index.lot_size, index.symbol) == ("INDEX", 1, "NSE:NIFTY 50")


def test_columns_may_come_in_another_order_and_be_more() -> None:
    header = "new," + ",".join(reversed(COLUMNS))
    row = "x," + ",".join(reversed(OPTION.split(",")))
    assert read(header, row) == read(HEADER, OPTION)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("408065,1594,INFY", "3 columns where the header has 12: cut off"),
        (EQUITY.replace("408065", "x"), "invalid literal"),
        (EQUITY.replace("0.05", "abc"), "tick_size 'abc'"),
        (EQUITY.replace("0.05", "0"), "INFY: lot_size 1 and tick_size 0 must be above zero"),
        (EQUITY.replace("0.05", "-1"), "tick_size '-1'"),
        (EQUITY.replace("0.05", "NaN"), "tick_size 'NaN'"),
        (EQUITY.replace("EQ", "XX"), "instrument_type 'XX'"),
        (OPTION.replace("2018-01-25", "25-01-2018"), "Invalid isoformat"),
        (OPTION.replace("BANKNIFTY18JAN23500CE", ""), "tradingsymbol is empty"),
        ('1,2,"INFY', "unexpected end of data"),
    ],
)
def test_a_damaged_row_is_named_by_its_line(row: str, complaint: str) -> None:
    with pytest.raises(BadReply, match=f"line 3: .*{complaint}"):
        read(HEADER, EQUITY, row)


@pytest.mark.parametrize("rows", [[], [""], ["<html>", "<body>sorry</body>"], ["a,b,c"]])
def test_something_else_is_not_a_list(rows: list[str]) -> None:
    with pytest.raises(BadReply, match="line 1: not Kite's instrument list"):
        read(*rows)
