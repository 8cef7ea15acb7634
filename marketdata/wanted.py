"""What the database wants: which feeds run, and what each carries."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple, Self

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F

from marketdata.accounts import broker_config
from marketdata.digests import UNKNOWN, digests
from marketdata.domain.errors import UnknownInstrument
from marketdata.domain.instruments import canonical
from marketdata.domain.sessions import Calendar, Hours
from marketdata.domain.ticks import FeedMode
from marketdata.models import BrokerAccount, Instrument, MarketDay, Subscription
from marketdata.ports import BrokerConfig
from marketdata.subscriptions import STRATEGY, SubscriptionRows

logger = logging.getLogger(__name__)


ROUND = 60
"""With so many readings, in two minutes, everything is read again, changed or not."""

_COLUMNS = (
    "holder",
    "instrument__exchange",
    "instrument__tradingsymbol",
    "instrument__token",
    "instrument__tick_size",
)


class _Carried(NamedTuple):
    """What a feed carries, by symbol: see ``WantedFeed``."""

    modes: dict[str, FeedMode]
    tokens: dict[str, str]
    tick_sizes: dict[str, Decimal]


_NOTHING = _Carried({}, {}, {})


@dataclass(frozen=True, slots=True)
class WantedFeed:
    """One account's feed as it should be.

    Attributes:
        modes: By symbol; FULL where a strategy holds it, for only that mode carries the
            exchange's time. Empty: nothing to watch, so nothing to connect for.
        tokens: The broker's token by symbol.
        tick_sizes: Rupees between two valid prices by symbol, where known.

    """

    user_id: int
    config: BrokerConfig
    generation: int = 0
    modes: Mapping[str, FeedMode] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    tick_sizes: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """All feeds by account, and every user who has an account."""

    feeds: Mapping[int, WantedFeed]
    owners: frozenset[int]

    def of(self, users: Collection[int] | None) -> Self:
        """Return what is wanted for these users; None: for all."""
        if users is None:
            return self
        feeds = {pk: feed for pk, feed in self.feeds.items() if feed.user_id in users}
        return replace(self, feeds=feeds, owners=self.owners.intersection(users))


class FeedTokens:
    """Symbol <-> token for what a feed carries; implements ``ports.Tokens``."""

    def __init__(self, tokens: Mapping[str, str], tick_sizes: Mapping[str, Decimal]) -> None:
        self.replace(tokens, tick_sizes)

    def replace(self, tokens: Mapping[str, str], tick_sizes: Mapping[str, Decimal]) -> None:
        self._tokens = dict(tokens)
        self._tick_sizes = dict(tick_sizes)
        self._symbols = {token: symbol for symbol, token in tokens.items()}

    def token(self, symbol: str) -> str:
        """Return the broker's token; raises ``UnknownInstrument``."""
        try:
            return self._tokens[symbol]
        except KeyError:
            raise UnknownInstrument(f"{symbol} is not wanted on this feed") from None

    def symbol(self, token: str) -> str | None:
        return self._symbols.get(token)

    def tick_size(self, symbol: str) -> Decimal | None:
        return self._tick_sizes.get(symbol)


class WantedReader:
    """Reads what is wanted, again and again; what an account's feed carries only when it has changed. Blocks.

    The database tells a digest of each account's subscriptions before their rows are read, so that
    what changes in between has another digest the next time.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[bytes, _Carried]] = {}
        self._turn = 0

    def read(self) -> Wanted:
        """Read what is wanted now. Where nothing has changed the mappings are the same objects as before."""
        accounts = BrokerAccount.objects.filter(desired_state=BrokerAccount.DesiredState.RUNNING)
        carried = self._carried()
        feeds = {
            account.pk: _feed(account, carried.get(account.pk, _NOTHING)) for account in _readable(accounts)
        }
        owners = BrokerAccount.objects.values_list("user_id", flat=True).distinct()
        return Wanted(feeds, frozenset(owners))

    def _carried(self) -> dict[int, _Carried]:
        # An instrument of another broker's list has another broker's token.
        rows = Subscription.objects.filter(
            account__desired_state=BrokerAccount.DesiredState.RUNNING, instrument__broker=F("account__broker")
        ).exclude(instrument__token="")  # listed no longer
        self._turn += 1
        known = self._known if self._turn % ROUND else {}
        found = digests(rows, F("account_id"), ("id", *_COLUMNS))
        same = {
            pk: known[pk]
            for pk, digest in found.items()
            if digest != UNKNOWN and pk in known and known[pk][0] == digest
        }
        changed = _read(rows.filter(account__in=found.keys() - same.keys()))
        self._known = same | {pk: (found[pk], held) for pk, held in changed.items() if pk in found}
        return {pk: carried for pk, (_, carried) in self._known.items()}


def read_tokens(broker: str, symbols: Collection[str]) -> dict[str, str]:
    """Return the broker's token of each symbol. Blocks.

    Raises:
        UnknownInstrument: One is not in the broker's instrument list.

    """
    names = [symbol.partition(":")[2] for symbol in symbols]
    rows = Instrument.objects.filter(broker=broker, tradingsymbol__in=names)
    found = {row.symbol: row.token for row in rows}
    for symbol in symbols:
        if symbol not in found:
            raise UnknownInstrument(
                f"{symbol} is not in the instrument list of {broker}: import_instruments {broker}"
            )
    return {symbol: found[symbol] for symbol in symbols}


def read_calendar(*, always: bool) -> Calendar:
    """Return the calendar with the days that differ. Blocks."""
    return Calendar({(day.exchange, day.date): _hours(day) for day in MarketDay.objects.all()}, always)


def _hours(day: MarketDay) -> Hours | None:
    if day.opens_at is None or day.closes_at is None:
        return None
    return Hours(day.opens_at, day.closes_at)


def _read(rows: SubscriptionRows) -> dict[int, _Carried]:
    found: dict[int, _Carried] = defaultdict(lambda: _Carried({}, {}, {}))
    for account_id, holder, exchange, name, token, tick_size in rows.values_list("account_id", *_COLUMNS):
        its, symbol = found[account_id], canonical(exchange, name)
        its.tokens[symbol], its.tick_sizes[symbol] = token, tick_size
        if holder.startswith(STRATEGY):
            its.modes[symbol] = FeedMode.FULL
        else:
            its.modes.setdefault(symbol, FeedMode.LTP)
    return found


def _feed(account: BrokerAccount, carried: _Carried) -> WantedFeed:
    return WantedFeed(account.user_id, broker_config(account), account.generation, *carried)


def _readable(accounts: Iterable[BrokerAccount]) -> list[BrokerAccount]:
    """Return the accounts whose credentials can be decrypted: the others must not stop these."""
    try:
        return list(accounts)
    except ImproperlyConfigured:
        pks = BrokerAccount.objects.filter(desired_state=BrokerAccount.DesiredState.RUNNING)
        found = [_decrypted(pk) for pk in pks.values_list("pk", flat=True)]
        return [account for account in found if account is not None]


def _decrypted(pk: int) -> BrokerAccount | None:
    try:
        return BrokerAccount.objects.get(pk=pk)
    except ImproperlyConfigured:
        logger.exception("account %s cannot run: its credentials cannot be read", pk)
        return None
