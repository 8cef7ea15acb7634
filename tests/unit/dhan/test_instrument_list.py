"""The compact scrip master: what has a name of ours gets it, the rest is counted with the reason."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from marketdata.brokers.dhan.instruments import DhanInstruments
from marketdata.domain.errors import BadReply
from marketdata.domain.instruments import Contract

RECORDED = Path(__file__).parents[2] / "data" / "dhan" / "rest" / "scrip_master.csv"
HEADER = RECORDED.read_text().splitlines()[0]
SHARE = "NSE,E,2885,EQUITY,0,RELIANCE,1,Reliance Industries,,,,10,NA,ES,EQ,RELIANCE INDUSTRIES LTD"
NIFTY = "NSE,I,13,INDEX,0,NIFTY,1,Nifty 50,0001-01-01,,XX,0.05,,INDEX,X,NIFTY"
FUTURE = (
    "NSE,D,58072,FUTIDX,0,NIFTY-Nov2026-FUT,65.0,NIFTY NOV FUT,2026-11-24 14:30:00,-0.01,XX,10.0,M,FUT,,NIFTY"
)


def option(expiry: str, flag: str, *, security_id: int = 1, symbol: str = "NIFTY", **changes: str) -> str:
    day = date.fromisoformat(expiry)
    fields = {"strike": "24000.00000", "kind": "CE", "name": f"{symbol}-{day:%b%Y}-24000-CE", **changes}
    return (
        f"NSE,D,{security_id},OPTIDX,0,{fields['name']},65.0,{symbol} CALL,{expiry} 14:30:00,{fields['strike']},"
        f"{fields['kind']},5.0000,{flag},OP,,"
    )


def read(*rows: str) -> tuple[list[Contract], Counter[str]]:
    left_out: Counter[str] = Counter()
    return list(DhanInstruments().contracts([f"{row}\n" for row in (HEADER, *rows)], left_out)), left_out


def symbols(*rows: str) -> list[str]:
    return [contract.symbol for contract in read(*rows)[0]]


def only_reason(*rows: str) -> str:
    contracts, left_out = read(*rows)
    assert contracts == []
    (reason,) = left_out
    return reason


def test_the_recorded_rows_are_named_or_counted() -> None:
    left_out: Counter[str] = Counter()
    with RECORDED.open() as lines:
        found = {item.symbol: item for item in DhanInstruments().contracts(lines, left_out)}
    assert len(found) == 121
    assert left_out == {"index without a name of ours": 141}
    assert found["NSE:RELIANCE"] == Contract(
        "NSE", "RELIANCE", "NSE_EQ:2885", "RELIANCE INDUSTRIES LTD", "EQ", 1, Decimal("0.10")
    )
    assert found["NSE:TATASTEEL"].tick_size == Decimal("0.01")
    assert found["NSE:NIFTY 50"].token == "IDX_I:13"
    assert found["BSE:SENSEX"].token == "IDX_I:51"
    assert found["NSE:RAJESHEXPO-BZ"].token == "NSE_EQ:760461"
    assert {"NSE:SGBFEB27-GB", "NSE:743AP31-SG", "NSE:VILINBIO-ST", "BSE:BAYERCROP"} <= found.keys()
    assert "NSE:RAJESHEXPO" not in found


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("NIFTY", "NSE:NIFTY 50"), ("BANKNIFTY", "NSE:NIFTY BANK"), ("FINNIFTY", "NSE:NIFTY FIN SERVICE"),
        ("MIDCPNIFTY", "NSE:NIFTY MID SELECT"), ("NIFTYNXT50", "NSE:NIFTY NEXT 50"), ("INDIA VIX", "NSE:INDIA VIX"),
    ],
)  # fmt: skip
def test_an_index_has_kites_name(theirs: str, ours: str) -> None:
    assert symbols(NIFTY.replace(",NIFTY,", f",{theirs},")) == [ours]


@pytest.mark.parametrize(
    ("text", "tick"), [("0.05", "0.05"), ("0.01", "0.01"), ("5.0000", "0.05"), ("0", "0.05"), ("", "0.05")]
)
def test_an_index_has_its_tick_in_rupees_or_paise(text: str, tick: str) -> None:
    (index,), _ = read(NIFTY.replace("0.05", text))
    assert index.tick_size == Decimal(tick)


def test_a_warrant_never_takes_the_name_of_the_share() -> None:
    warrant = SHARE.replace("2885", "770001").replace("ES,EQ", "Other,W1")
    contracts, left_out = read(warrant, SHARE)
    assert {item.symbol: item.token for item in contracts} == {
        "NSE:RELIANCE-W1": "NSE_EQ:770001",
        "NSE:RELIANCE": "NSE_EQ:2885",
    }
    assert not left_out


def test_rows_that_would_share_a_name_are_all_left_out() -> None:
    twin = SHARE.replace("2885", "770001")
    assert only_reason(SHARE, twin) == "several rows would have the same name"


def test_the_last_expiry_of_a_month_is_the_monthly_one() -> None:
    rows = [option("2026-11-24", "M"), option("2026-11-17", "W", security_id=2), option("2026-10-06", "W", security_id=3),
            option("2026-10-27", "M", security_id=4), option("2026-12-29", "Q", security_id=5)]  # fmt: skip
    assert symbols(*rows, FUTURE) == [
        "NFO:NIFTY26NOV24000CE",
        "NFO:NIFTY26N1724000CE",
        "NFO:NIFTY26O0624000CE",
        "NFO:NIFTY26OCT24000CE",
        "NFO:NIFTY26DEC24000CE",
        "NFO:NIFTY26NOVFUT",
    ]


def test_without_flags_the_calendar_decides() -> None:
    rows = [option("2026-11-24", ""), option("2026-11-17", "NA", security_id=2)]
    assert symbols(*rows) == ["NFO:NIFTY26NOV24000CE", "NFO:NIFTY26N1724000CE"]


def test_a_flag_against_the_calendar_is_no_name() -> None:
    reason = "expiry flag and calendar contradict each other"
    assert only_reason(option("2026-11-24", "W")) == reason
    assert only_reason(option("2026-11-24", "W"), option("2026-11-17", "M", security_id=2)) == reason


def test_options_and_futures_of_an_underlying_expire_on_their_own() -> None:
    option_row = (
        "MCX,M,500,OPTFUT,0,CRUDEOIL-16Nov2026-5200-CE,1.0,CRUDEOIL,2026-11-16 23:30:00,5200.00000,CE,10.0000,M,"
        "OPTFUT,2,CRUDEOIL"
    )
    future_row = (
        "MCX,M,501,FUTCOM,0,CRUDEOIL-19Nov2026-FUT,1.0,CRUDEOIL,2026-11-19 23:30:00,0.00000,XX,100.0000,M,FUTCOM,2,"
        "CRUDEOIL"
    )
    contracts, _ = read(option_row, future_row)
    assert [(c.symbol, c.token, c.tick_size, c.expiry, c.strike) for c in contracts] == [
        ("MCX:CRUDEOIL26NOV5200CE", "MCX_COMM:500", Decimal("0.1"), date(2026, 11, 16), Decimal(5200)),
        ("MCX:CRUDEOIL26NOVFUT", "MCX_COMM:501", Decimal(1), date(2026, 11, 19), None),
    ]


def test_currencies_are_exact_and_their_ids_those_of_shares() -> None:
    row = "NSE,C,2885,OPTCUR,0,EURINR-26Nov2026-102.75-CE,1.0,,2026-11-26 12:30:00,102.75000,CE,0.2500,M,OPTCUR,,EURINR"
    (share, pair), _ = read(SHARE, row)
    assert (pair.symbol, pair.token) == ("CDS:EURINR26NOV102.75CE", "NSE_CURRENCY:2885")
    assert (pair.tick_size, pair.strike, pair.lot_size) == (Decimal("0.0025"), Decimal("102.75"), 1)
    assert share.token == "NSE_EQ:2885"


@pytest.mark.parametrize("name", ["BAJAJ-AUTO", "M&M", "SENSEX50"])
def test_a_name_may_hold_anything(name: str) -> None:
    assert symbols(option("2026-11-24", "M", symbol=name)) == [f"NFO:{name}26NOV24000CE"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (SHARE.replace("NSE,E", "NSE,M"), "exchange or segment is not supported"),
        (SHARE.replace("2885", "28x5"), "security id is no number"),
        (SHARE.replace("EQUITY", "SWAP"), "kind of instrument is not supported"),
        (SHARE.replace(",EQ,", ",,"), "equity without a series"),
        (SHARE.replace(",10,", ",0,"), "tick size is not above zero"),
        (SHARE.replace(",10,", ",ten,"), "tick size is no number"),
        (SHARE.replace("RELIANCE,1,", "RELIANCE,0,"), "lot size is not a whole number above zero"),
        (SHARE.replace("RELIANCE,1,", "RELIANCE,1.5,"), "lot size is not a whole number above zero"),
        (SHARE + ",more", "more columns than the header"),
        (NIFTY.replace(",NIFTY,", ",GIFTNIFTY,"), "index without a name of ours"),
        (FUTURE.replace("NIFTY-Nov2026-FUT", "NIFTY26NOVFUT"),
         "derivative's symbol is not NAME-MonYYYY-FUT or NAME-MonYYYY-STRIKE-CE"),
        (FUTURE.replace("-Nov2026", "-Dec2026"), "symbol and expiry date contradict each other"),
        (FUTURE.replace("2026-11-24", "24/11/2026"), "expiry date is no date"),
        (FUTURE.replace("FUTIDX", "OPTIDX"), "symbol and kind of instrument contradict each other"),
        (option("2026-11-24", "M", strike="24050"), "symbol and strike or option type contradict each other"),
        (option("2026-11-24", "M", kind="PE"), "symbol and strike or option type contradict each other"),
    ],
)  # fmt: skip
def test_what_has_no_name_is_counted_with_the_reason(row: str, reason: str) -> None:
    assert only_reason(row) == reason


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([HEADER, "NSE,E,2885"], "line 2: 3 columns where the header has 16: cut off"),
        ([HEADER, '1,2,"INFY'], "line 2: unexpected end of data"),
        (["<html>"], "line 1: not Dhan's instrument list, no column SEM_EXM_EXCH_ID"),
        ([], "line 1: not Dhan's instrument list"),
    ],
)
def test_something_else_or_half_of_it_is_not_a_list(rows: list[str], complaint: str) -> None:
    with pytest.raises(BadReply, match=complaint):
        list(DhanInstruments().contracts([f"{row}\n" for row in rows]))


def test_columns_may_come_in_another_order_and_lines_be_empty() -> None:
    turned = [",".join(reversed(line.split(","))) + "\n" for line in (HEADER, FUTURE)]
    assert list(DhanInstruments().contracts([turned[0], "\n", turned[1]])) == read(FUTURE)[0]
