"""Dhan's instrument list, the "compact scrip master": a CSV of some 100,000 rows, new each morning.

It names a derivative by month only, so our names need the whole list: of the expiries of one
underlying in one month, the last is the monthly one and the others are weekly.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

from marketdata.asking import download
from marketdata.brokers.dhan.listing import COLUMNS, MONTHS, LeftOut, Listing, listing
from marketdata.brokers.dhan.roots import root
from marketdata.domain.errors import BadReply
from marketdata.domain.instruments import Contract
from marketdata.ports import BrokerConfig

_WEEK_MONTHS = "123456789OND"

Month = tuple[str, str, bool, int, int]
"""Exchange, underlying, whether futures, year, month: what has one monthly expiry."""


class DhanInstruments:
    """Implements ``ports.InstrumentSource``. The list says nothing about freeze quantities."""

    def contracts(self, lines: Iterable[str], left_out: Counter[str] | None = None) -> Iterator[Contract]:
        """Read the CSV: every row that has a name of ours.

        Args:
            lines: The file.
            left_out: Counts the others by reason.

        Raises:
            BadReply: Not the list, or cut off: names the line.

        """
        reasons: Counter[str] = Counter() if left_out is None else left_out
        named = list(_named(list(_listings(lines, reasons)), reasons))
        holders = Counter((item.exchange, item.tradingsymbol) for item in named)
        for item in named:
            if holders[item.exchange, item.tradingsymbol] > 1:
                reasons["several rows would have the same name"] += 1
            else:
                yield _contract(item)

    def download(self, config: BrokerConfig | None) -> str:
        """Return the list of the day as CSV text; it is public.

        Raises:
            BrokerUnavailable: Not reached, or in trouble.
            BrokerRejected: Refused.
            BadReply: Something else came than the list.

        """
        reply = download(root("instruments"), {}, "instrument list")
        if COLUMNS[0] not in reply.text.partition("\n")[0]:  # a file server says many things about its CSVs
            kind = reply.headers.get("content-type", "nothing said")
            raise BadReply(f"instrument list: expected Dhan's compact scrip master, got {kind}")
        return reply.text


def _listings(lines: Iterable[str], left_out: Counter[str]) -> Iterator[Listing]:
    rows = csv.reader(lines, strict=True)
    try:
        header = next(rows, [])
        if missing := [column for column in COLUMNS if column not in header]:
            raise BadReply(f"line 1: not Dhan's instrument list, no column {', '.join(missing)}")
        for row in rows:
            if row and len(row) < len(header):
                raise BadReply(
                    f"line {rows.line_num}: {len(row)} columns where the header has {len(header)}: cut off?"
                )
            try:
                if row:
                    yield _read(header, row)
            except LeftOut as exc:
                left_out[str(exc)] += 1
    except csv.Error as exc:
        raise BadReply(f"line {rows.line_num}: {exc}") from exc


def _read(header: Sequence[str], row: Sequence[str]) -> Listing:
    if len(row) > len(header):
        raise LeftOut("more columns than the header")
    return listing(dict(zip(header, row, strict=True)))


def _named(found: Sequence[Listing], left_out: Counter[str]) -> Iterator[Listing]:
    monthly: dict[Month, date] = {}
    for item in found:
        if item.expiry is not None:
            month = _month(item, item.expiry)
            monthly[month] = max(item.expiry, monthly.get(month, item.expiry))
    for item in found:
        if item.expiry is None:
            yield item
            continue
        is_weekly = item.expiry != monthly[_month(item, item.expiry)]
        if item.weekly is not None and item.weekly is not is_weekly:
            left_out["expiry flag and calendar contradict each other"] += 1
        else:
            yield replace(item, tradingsymbol=_tradingsymbol(item, item.expiry, is_weekly=is_weekly))


def _month(item: Listing, expiry: date) -> Month:
    return item.exchange, item.name, item.instrument_type == "FUT", expiry.year, expiry.month


def _tradingsymbol(item: Listing, expiry: date, *, is_weekly: bool) -> str:
    """Return Kite's name: ``NIFTY26NOVFUT``, ``NIFTY26NOV24000CE``, in a week ``NIFTY26N2424000CE``."""
    week = f"{_WEEK_MONTHS[expiry.month - 1]}{expiry:%d}"
    code = f"{expiry:%y}{week if is_weekly else MONTHS[expiry.month - 1]}"
    strike = "" if item.strike is None else f"{item.strike.normalize():f}"
    return f"{item.name}{code}{strike}{item.instrument_type}"


def _contract(item: Listing) -> Contract:
    return Contract(
        exchange=item.exchange,
        tradingsymbol=item.tradingsymbol,
        token=item.token,
        name=item.name,
        instrument_type=item.instrument_type,
        lot_size=item.lot_size,
        tick_size=item.tick_size,
        expiry=item.expiry,
        strike=item.strike,
    )
