"""Kite's instrument list: a CSV of about 130,000 rows, new each morning at about 08:30."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from marketdata.asking import download
from marketdata.brokers.zerodha.roots import root
from marketdata.domain.errors import BadReply
from marketdata.domain.instruments import Contract
from marketdata.ports import BrokerConfig

COLUMNS = (
    "instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike",
    "tick_size", "lot_size", "instrument_type", "segment", "exchange",
)  # fmt: skip
_TYPES = frozenset({"EQ", "FUT", "CE", "PE"})
_OPTIONS = frozenset({"CE", "PE"})
_INDICES = "INDICES"


class KiteInstruments:
    """Implements ``ports.InstrumentSource``. The list says nothing about freeze quantities."""

    def contracts(self, lines: Iterable[str], left_out: Counter[str] | None = None) -> Iterator[Contract]:
        """Read the CSV, row by row. Our names are Kite's: no row is left out.

        Raises:
            BadReply: Not the list, or a row is damaged: names its line and what is wrong.

        """
        rows = csv.reader(lines, strict=True)
        try:
            header = next(rows, [])
            if missing := [column for column in COLUMNS if column not in header]:
                raise BadReply(f"line 1: not Kite's instrument list, no column {', '.join(missing)}")
            for row in rows:
                if len(row) != len(header):
                    raise ValueError(f"{len(row)} columns where the header has {len(header)}: cut off?")  # noqa: TRY301
                yield _contract(dict(zip(header, row, strict=True)))
        except (ValueError, csv.Error) as exc:
            raise BadReply(f"line {rows.line_num}: {exc}") from exc

    def download(self, config: BrokerConfig | None) -> str:
        """Return the list of the day as CSV text; needs no login.

        Raises:
            BrokerUnavailable: Not reached, or in trouble.
            BrokerRejected: Refused.
            BadReply: Something else came than a CSV.

        """
        reply = download(f"{root('api')}/instruments", _headers(config), "instrument list")
        kind = reply.headers.get("content-type", "nothing said")
        if "csv" not in kind:
            raise BadReply(f"instrument list: expected CSV, got {kind}")
        return reply.text


def _headers(config: BrokerConfig | None) -> dict[str, str]:
    headers = {"X-Kite-Version": "3"}
    if config and config.access_token:
        headers["Authorization"] = f"token {config.api_key}:{config.access_token.reveal()}"
    return headers


def _contract(row: Mapping[str, str]) -> Contract:
    is_index = row["segment"] == _INDICES
    kind = row["instrument_type"]
    if kind not in _TYPES:
        raise ValueError(f"instrument_type {kind!r}: expected one of {', '.join(sorted(_TYPES))}")
    lot_size, tick_size = int(row["lot_size"]), _decimal("tick_size", row["tick_size"])
    if not is_index and (lot_size < 1 or tick_size <= 0):  # indices are not traded, their rows say 0
        raise ValueError(
            f"{row['tradingsymbol']}: lot_size {lot_size} and tick_size {tick_size} must be above zero"
        )
    return Contract(
        exchange=_filled("exchange", row),
        tradingsymbol=_filled("tradingsymbol", row),
        token=str(int(row["instrument_token"])),
        name=row["name"],
        instrument_type="INDEX" if is_index else kind,
        lot_size=max(lot_size, 1),
        tick_size=tick_size or Decimal("0.05"),
        expiry=_date(row["expiry"]) if row["expiry"] else None,
        strike=_decimal("strike", row["strike"]) if kind in _OPTIONS else None,
    )


def _filled(name: str, row: Mapping[str, str]) -> str:
    if not row[name]:
        raise ValueError(f"{name} is empty")
    return row[name]


# Few values, many rows: each is read once.
@lru_cache(maxsize=8192)
def _decimal(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{name} {text!r}: expected a number") from None
    if not value.is_finite() or value < 0:
        raise ValueError(f"{name} {text!r}: expected zero or more")
    return value


@lru_cache(maxsize=1024)
def _date(text: str) -> date:
    return date.fromisoformat(text)
