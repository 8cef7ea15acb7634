from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from asgiref.sync import async_to_sync
from django.conf import settings
from ninja import Query, Router, Schema

from marketdata.domain.instruments import canonical
from marketdata.ltp import CachedPrice, get_cached_prices
from marketdata.models import Subscription
from project.api.auth import ApiRequest
from project.api.errors import ApiError
from project.api.schemas import PRINTABLE
from strategies.reporting import plain

router = Router(tags=["quotes"])
MOST = 500


class QuoteOut(Schema):
    """A last traded price in rupees, and how old it is.

    `age_s` counts from its receipt. `exchange_time` is the exchange's own, where the feed tells one: `known_by`
    is then `exchange_time`, otherwise `receipt`. `is_stale`: too old to trigger a stop.
    """

    symbol: str
    price: str
    age_s: float
    exchange_time: datetime | None
    known_by: Literal["exchange_time", "receipt"]
    is_stale: bool


class MissingOut(Schema):
    """A symbol without a price that could be called one, and why."""

    symbol: str
    reason: str


class QuotesOut(Schema):
    items: list[QuoteOut]
    missing: list[MissingOut]


@router.get("", response=QuotesOut, summary="Last prices of what you watch, with their age")
def quotes(
    request: ApiRequest, symbols: Annotated[str, Query(pattern=PRINTABLE, max_length=8000)] = ""
) -> dict[str, Any]:
    """`symbols`: names between commas, `NSE:INFY,NSE:SBIN`; without it, all that your strategies and watch list hold.

    A price that is older than it may be kept is missing, never shown as live.
    """
    watched = _watched(request.user.pk)
    wanted = [name.strip().upper() for name in symbols.split(",") if name.strip()] or sorted(watched)
    if len(wanted) > MOST:
        raise ApiError(422, "invalid", f"{len(wanted)} symbols at once: ask for {MOST} at most.", "symbols")
    found = async_to_sync(get_cached_prices)(name for name in wanted if name in watched)
    return {
        "items": [_out(name, found[name]) for name in wanted if name in found],
        "missing": [
            {"symbol": name, "reason": _why(name, watched)}
            for name in dict.fromkeys(wanted)
            if name not in found
        ],
    }


def _watched(user_id: int) -> Collection[str]:
    rows = Subscription.objects.filter(account__user=user_id)
    names = rows.values_list("instrument__exchange", "instrument__tradingsymbol").distinct()
    return {canonical(exchange, name) for exchange, name in names}


def _why(symbol: str, watched: Collection[str]) -> str:
    if symbol in watched:
        return f"no price was received in the last {settings.LTP_TTL_S} s, or the price cache is away"
    return "you do not watch it: put it on the watch list, or start a strategy on it"


def _out(symbol: str, price: CachedPrice) -> QuoteOut:
    return QuoteOut(
        symbol=symbol,
        price=plain(Decimal(price.ltp)) or "",
        age_s=round(price.age_s, 3),
        exchange_time=price.timestamp,
        known_by="receipt" if price.timestamp is None else "exchange_time",
        is_stale=price.is_stale,
    )
