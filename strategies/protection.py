"""Which stops are watched, and why the others are not: judged from rows, nothing is taken on trust.

"Protected" needs evidence: the account is to run, its listener has reported within seconds, is
connected, carries the instrument with its exchange time, and prices arrive while the exchange
is open, its own among them. Whatever is missing is the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, When

from marketdata.domain.sessions import Calendar, Phase
from marketdata.evidence import has_ticked, is_connected, is_reported, is_ticking
from marketdata.logins import token_life
from marketdata.models import BrokerAccount, Listener, Subscription
from marketdata.subscriptions import STRATEGY
from strategies import records
from strategies.domain.exits import ExitState
from strategies.models import Exit, Strategy

_LARGEST = 2**31 - 1
"""No quantity or price is above it. For a database, what is no number at all is."""

_NAMED = 500
"""How many unseen instruments are told to the database; accounts with more are judged row by row."""

_IS_WHOLE = Q(
    position__in=(Strategy.Position.BOUGHT, Strategy.Position.SOLD),
    quantity__gt=0,
    quantity__lte=_LARGEST,
    stop_loss__gt=0,
    stop_loss__lte=_LARGEST,
)


@dataclass(frozen=True, slots=True)
class Unprotected:
    strategy: int
    reason: str


@dataclass(frozen=True, slots=True)
class Protection:
    """``armed`` stops, how many of them are protected, and who is not, open exits included."""

    armed: int
    protected: int
    unprotected: tuple[Unprotected, ...]

    def as_json(self) -> dict[str, Any]:
        missing = [{"strategy": row.strategy, "reason": row.reason} for row in self.unprotected]
        return {"armed": self.armed, "protected": self.protected, "unprotected": missing}


def protection(user_id: int | None, now: datetime, calendar: Calendar) -> Protection:
    """Judge every armed stop and every open exit of a user, or of everybody. Blocks."""
    armed = records.armed(None if user_id is None else [user_id])
    doubtful = list(_doubtful(armed, now))
    judge = Judge(now, calendar)
    found = [(row.pk, judge.why_unprotected(row)) for row in doubtful]
    missing = [Unprotected(pk, reason) for pk, reason in found if reason]
    stuck = [Unprotected(row.strategy_id, _why_stuck(row)) for row in _needing_help(user_id)]
    count = max(armed.count(), len(doubtful))  # some may have ended in between
    return Protection(count, count - len(missing), (*missing, *stuck))


def is_held() -> Exists:
    """Return the annotation ``is_held`` that a judge reads: the instrument is subscribed."""
    held = Subscription.objects.filter(
        account=OuterRef("account"), instrument=OuterRef("instrument"), holder__startswith=STRATEGY
    )
    return Exists(held)


def _doubtful(armed: QuerySet[Strategy], now: datetime) -> QuerySet[Strategy]:
    """Return the rows that have to be judged one by one: all but those that the database sees lack nothing."""
    accounts = BrokerAccount.objects.filter(pk__in=armed.values("account")).select_related("listener")
    is_seen = _is_seen(account for account in accounts if _is_well(account, now))
    is_plain = _IS_WHOLE & Q(is_held=True) & ~Q(instrument__token="") & is_seen
    rows = armed.annotate(is_held=is_held()).annotate(is_plain=Case(When(is_plain, then=True), default=False))
    # Prefetched, an account is one object for all its strategies, and its credentials are decrypted once.
    return rows.filter(is_plain=False).select_related("instrument").prefetch_related("account__listener")


def _is_seen(accounts: Iterable[BrokerAccount]) -> Q:
    """Return what holds for instruments of these accounts that their feeds see; a query has room for some names only."""
    seeing: list[int] = []
    dark, room = Q(), _NAMED
    for account in accounts:
        names = [symbol.partition(":")[2] for symbol in account.listener.unseen]
        if len(names) <= room:
            room -= len(names)
            seeing.append(account.pk)
            dark |= Q(account=account, instrument__tradingsymbol__in=names) if names else Q()
    return Q(account__in=seeing) & ~dark if dark else Q(account__in=seeing)


def _is_well(account: BrokerAccount, now: datetime) -> bool:
    """Tell whether an account and its listener leave nothing to be asked for, whatever the hour."""
    listener: Listener | None = getattr(account, "listener", None)
    return _is_to_run(account) and is_ticking(listener, now) and not _needs_login(account, listener, now)


def _needing_help(user_id: int | None) -> QuerySet[Exit]:
    rows = Exit.objects.filter(state=ExitState.NEEDS_HUMAN)
    return rows if user_id is None else rows.filter(strategy__user_id=user_id)


def _why_stuck(row: Exit) -> str:
    return row.concern or "its exit needs a person"


@dataclass(frozen=True, slots=True)
class _Feed:
    """What an account's feed leaves to be asked for: ``trouble`` as long as no stop of it is protected."""

    trouble: str
    is_ticking: bool
    unseen: Mapping[str, str]


class Judge:
    """Judges stops as of one moment. What holds for an account or an exchange is found out once."""

    def __init__(self, now: datetime, calendar: Calendar) -> None:
        self._now = now
        self._calendar = calendar
        self._feeds: dict[int, _Feed] = {}
        self._open: dict[str, bool] = {}

    def is_open(self, exchange: str) -> bool:
        """Tell whether the exchange is in its regular session."""
        if exchange not in self._open:
            self._open[exchange] = self._calendar.phase(exchange, self._now.timestamp())[0] is Phase.OPEN
        return self._open[exchange]

    def why_unprotected(self, strategy: Strategy) -> str:
        """Return what is missing for a stop to be protected; empty when nothing is."""
        return next(self._missing(strategy), "")

    def _missing(self, strategy: Strategy) -> Iterator[str]:
        instrument, feed = strategy.instrument, self._feed(strategy.account)
        if strategy.position not in ("BOUGHT", "SOLD"):
            yield f"its position {strategy.position!r} is unknown"
        if not _is_above_zero(strategy.quantity):
            yield "it has no quantity"
        if strategy.stop_loss is None or strategy.stop_loss <= 0:
            yield "it has no stop"
        if feed.trouble:
            yield feed.trouble
        if not instrument.token:
            yield f"{instrument} is no longer in the broker's instrument list"
        if not getattr(strategy, "is_held", True):
            yield f"{instrument} is not subscribed: stop and start the strategy"
        if self.is_open(instrument.exchange):
            if not feed.is_ticking:
                yield "prices have stopped coming"
            if unseen := str(feed.unseen.get(instrument.symbol, "")):
                yield f"{instrument}: {unseen}"

    def _feed(self, account: BrokerAccount) -> _Feed:
        feed = self._feeds.get(account.pk)
        if feed is None:
            listener: Listener | None = getattr(account, "listener", None)
            trouble = next(_troubles(account, listener, self._now), "")
            unseen = {} if listener is None else listener.unseen
            feed = self._feeds[account.pk] = _Feed(trouble, is_ticking(listener, self._now), unseen)
        return feed


def _troubles(account: BrokerAccount, listener: Listener | None, now: datetime) -> Iterator[str]:
    if not _is_to_run(account):
        yield f"the listener of {account} is stopped"
    if not is_reported(listener, now):
        yield "the listeners are not running"
    if _needs_login(account, listener, now):
        yield f"log in again at the broker of {account}"
    if not is_connected(listener, now):
        yield f"the feed of {account} is not connected{_because(listener)}{_meanwhile(listener, now)}"


def _is_above_zero(quantity: object) -> bool:
    return isinstance(quantity, int) and quantity > 0


def _is_to_run(account: BrokerAccount) -> bool:
    return account.desired_state == BrokerAccount.DesiredState.RUNNING


def _needs_login(account: BrokerAccount, listener: Listener | None, now: datetime) -> bool:
    # With an expired login the feed may still tick, but no exit would be taken.
    refused = listener is not None and listener.state == Listener.State.LOGIN_NEEDED
    return refused or not token_life(account, now).holds


def _meanwhile(listener: Listener | None, now: datetime) -> str:
    """Tell whether stops are checked in another way; the row's last price may be one that was asked for."""
    is_fresh = has_ticked(listener, now)
    return "; its stops are checked by quotes meanwhile" if is_fresh else "; its stops are not checked"


def _because(listener: Listener | None) -> str:
    return f": {listener.last_error}" if listener is not None and listener.last_error else ""
