from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Annotated, Any

from ninja import Query, Router, Schema

from marketdata.catalogue import find_instruments
from marketdata.models import Broker, BrokerAccount, Instrument
from project.api.auth import ApiRequest
from project.api.schemas import PRINTABLE
from strategies.reporting import plain

router = Router(tags=["instruments"])


class InstrumentOut(Schema):
    """`symbol` is the name that strategies and quotes are asked for by."""

    symbol: str
    broker: str
    name: str
    type: str
    expiry: date | None
    strike: str | None
    lot_size: int
    tick_size: str | None
    freeze_quantity: int | None


class InstrumentsOut(Schema):
    items: list[InstrumentOut]


@router.get("", response=InstrumentsOut, summary="Search the instrument lists")
def instruments(
    request: ApiRequest,
    q: Annotated[str, Query(pattern=PRINTABLE, min_length=1, max_length=64)],
    broker: Broker | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """`q` is any part of symbol or name, several words in any order: `infy`, `nse:infy`, `nifty dec fut`.

    The likeliest first, from the lists of the brokers where you have accounts, unless `broker` says which. A
    contract that two of them list comes twice.
    """
    own = BrokerAccount.objects.filter(user=request.user).values_list("broker", flat=True)
    brokers = {broker.value} if broker else set(own)
    symbols = [found.symbol for found in find_instruments(brokers, q, limit)]
    return {"items": [_out(row) for row in _rows(brokers, symbols)]}


def _rows(brokers: Collection[str], symbols: list[str]) -> list[Instrument]:
    """Return the rows of these symbols, in their order."""
    names = [symbol.partition(":")[2] for symbol in symbols]
    rows = Instrument.objects.filter(broker__in=brokers, tradingsymbol__in=names).order_by("broker")
    wanted = {symbol: place for place, symbol in enumerate(symbols)}
    return sorted((row for row in rows if row.symbol in wanted), key=lambda row: wanted[row.symbol])


def _out(row: Instrument) -> InstrumentOut:
    return InstrumentOut(
        symbol=row.symbol,
        broker=row.broker,
        name=row.name,
        type=row.instrument_type,
        expiry=row.expiry,
        strike=plain(row.strike),
        lot_size=row.lot_size,
        tick_size=plain(row.tick_size),
        freeze_quantity=row.freeze_quantity,
    )
