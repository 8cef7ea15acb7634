"""One row of Dhan's instrument list: what it says, checked against itself.

Nothing is guessed: a row that contradicts itself, or whose kind has no name of ours, is
:exc:`LeftOut` with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from marketdata.brokers.dhan.indices import INDEX_NAMES
from marketdata.brokers.dhan.segments import INDICES, LISTED, token_of

COLUMNS = (
    "SEM_EXM_EXCH_ID", "SEM_SEGMENT", "SEM_SMST_SECURITY_ID", "SEM_INSTRUMENT_NAME", "SEM_TRADING_SYMBOL",
    "SEM_LOT_UNITS", "SEM_EXPIRY_DATE", "SEM_STRIKE_PRICE", "SEM_OPTION_TYPE", "SEM_TICK_SIZE",
    "SEM_EXPIRY_FLAG", "SEM_EXCH_INSTRUMENT_TYPE", "SEM_SERIES", "SM_SYMBOL_NAME",
)  # fmt: skip
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_FUTURES = frozenset({"FUTIDX", "FUTSTK", "FUTCUR", "FUTCOM"})
_OPTIONS = frozenset({"OPTIDX", "OPTSTK", "OPTCUR", "OPTFUT"})
# NIFTY-Nov2026-FUT, GOLDM-05Nov2026-FUT, BAJAJ-AUTO-Nov2026-9000-CE
_DERIVATIVE = re.compile(
    r"(?P<name>.+)-(?:\d{2})?(?P<month>[A-Za-z]{3})(?P<year>\d{4})-(?:FUT|(?P<strike>\d+(?:\.\d+)?)-(?P<kind>CE|PE))"
)
_PAISE = Decimal(100)
_INDEX_TICK = Decimal("0.05")


class LeftOut(Exception):
    """A row without a name of ours; the text is the reason, without the row."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A row that can be named.

    Attributes:
        name: The underlying of a derivative, the company of a share.
        tradingsymbol: Ours; a derivative's needs the whole list, and is empty here.
        weekly: What the list says about a derivative's expiry; None when it says nothing.

    """

    exchange: str
    token: str
    instrument_type: str
    name: str
    lot_size: int
    tick_size: Decimal
    tradingsymbol: str = ""
    expiry: date | None = None
    strike: Decimal | None = None
    weekly: bool | None = None


def listing(row: Mapping[str, str]) -> Listing:
    """Read one row.

    Raises:
        LeftOut: It has no name of ours.

    """
    try:
        segment, exchange = LISTED[row["SEM_EXM_EXCH_ID"], row["SEM_SEGMENT"]]
    except KeyError:
        raise LeftOut("exchange or segment is not supported") from None
    security_id = row["SEM_SMST_SECURITY_ID"]
    if not security_id.isascii() or not security_id.isdigit():
        raise LeftOut("security id is no number")
    token, kind = token_of(segment, security_id), row["SEM_INSTRUMENT_NAME"]
    if segment == INDICES:
        return _index(row, exchange, token)
    if kind == "EQUITY":
        return _equity(row, exchange, token)
    if kind in _FUTURES or kind in _OPTIONS:
        return _derivative(row, exchange, token)
    raise LeftOut("kind of instrument is not supported")


def _index(row: Mapping[str, str], exchange: str, token: str) -> Listing:
    name = INDEX_NAMES.get((exchange, row["SEM_TRADING_SYMBOL"]))
    if name is None:
        raise LeftOut("index without a name of ours")
    tick = _number(row["SEM_TICK_SIZE"] or "0", "tick size")
    # Given in rupees for indices, though some lists have paise; nobody trades at it.
    tick = tick / _PAISE if tick >= 1 else tick
    return Listing(exchange, token, "INDEX", name, 1, tick or _INDEX_TICK, name)


def _equity(row: Mapping[str, str], exchange: str, token: str) -> Listing:
    symbol, series = row["SEM_TRADING_SYMBOL"].strip(), row["SEM_SERIES"].strip()
    if not symbol:
        raise LeftOut("no trading symbol")
    if exchange == "NSE":
        if series in ("", "NA"):
            raise LeftOut("equity without a series")
        # Only the EQ series has the plain name: never a warrant or a bond for the share.
        symbol = symbol if series == "EQ" else f"{symbol}-{series}"
    name = row["SM_SYMBOL_NAME"].strip()
    return Listing(exchange, token, "EQ", name, _lot_size(row), _tick_size(row), symbol)


def _derivative(row: Mapping[str, str], exchange: str, token: str) -> Listing:
    parts = _DERIVATIVE.fullmatch(row["SEM_TRADING_SYMBOL"])
    if parts is None:
        raise LeftOut("derivative's symbol is not NAME-MonYYYY-FUT or NAME-MonYYYY-STRIKE-CE")
    expiry = _date(row["SEM_EXPIRY_DATE"])
    if (parts["month"].upper(), int(parts["year"])) != (MONTHS[expiry.month - 1], expiry.year):
        raise LeftOut("symbol and expiry date contradict each other")
    kind = parts["kind"] or "FUT"
    strike = None
    if (kind == "FUT") is not (row["SEM_INSTRUMENT_NAME"] in _FUTURES):
        raise LeftOut("symbol and kind of instrument contradict each other")
    if kind != "FUT":
        strike = _number(row["SEM_STRIKE_PRICE"], "strike")
        if row["SEM_OPTION_TYPE"] != kind or strike != Decimal(parts["strike"]):
            raise LeftOut("symbol and strike or option type contradict each other")
    return Listing(
        exchange, token, kind, parts["name"], _lot_size(row), _tick_size(row),
        expiry=expiry, strike=strike, weekly=_weekly(row["SEM_EXPIRY_FLAG"]),
    )  # fmt: skip


def _weekly(flag: str) -> bool | None:
    # M month, Q quarter, H half year, Y year: each is the last expiry of its month.
    return {"W": True, "M": False, "Q": False, "H": False, "Y": False}.get(flag)


def _lot_size(row: Mapping[str, str]) -> int:
    value = _number(row["SEM_LOT_UNITS"], "lot size")
    if value != int(value) or value < 1:
        raise LeftOut("lot size is not a whole number above zero")
    return int(value)


def _tick_size(row: Mapping[str, str]) -> Decimal:
    value = _number(row["SEM_TICK_SIZE"], "tick size") / _PAISE
    if value <= 0:
        raise LeftOut("tick size is not above zero")
    return value


# Few values, many rows: each is read once.
@lru_cache(maxsize=8192)
def _number(text: str, what: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise LeftOut(f"{what} is no number") from None
    if not value.is_finite() or value < 0:
        raise LeftOut(f"{what} is no number")
    return value


@lru_cache(maxsize=1024)
def _date(text: str) -> date:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise LeftOut("expiry date is no date") from None
