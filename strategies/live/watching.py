"""A user's watch list: subscriptions held by the user, on the user's own accounts only."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from marketdata.listening import keep_running
from marketdata.models import BrokerAccount, Instrument, Subscription
from marketdata.subscriptions import SubscriptionManager, watch_holder

MAX_WATCHED = 500
_subscriptions = SubscriptionManager()


class WatchError(Exception):
    """What was asked cannot be watched; the text says why, for a person."""


def watch(user_id: int, symbols: Iterable[str]) -> int:
    """Put instruments on the user's watch list; return how many are new.

    Args:
        user_id: Whose list.
        symbols: Canonical names, ``NSE:INFY``.

    Raises:
        WatchError: No account, an unknown instrument, or the list is full. Nothing is written then.

    """
    accounts = _accounts(user_id)
    wanted = {symbol: _find(symbol, accounts) for symbol in symbols}
    holder = watch_holder(user_id)
    with transaction.atomic():
        # The same contract of two brokers is one thing on the page.
        rows = Subscription.objects.filter(holder=holder).select_related("instrument")
        held = {row.instrument.symbol for row in rows}
        new = [pair for symbol, pair in wanted.items() if symbol not in held]
        if len(held) + len(new) > MAX_WATCHED:
            raise WatchError(f"The watch list holds {MAX_WATCHED} instruments: remove some first.")
        for account_id, instrument_id in new:
            _subscriptions.hold(holder, account_id, instrument_id)
        keep_running({account_id for account_id, _ in new}, by=accounts[0].user, reason="watch list")
    return len(new)


def unwatch(user_id: int, symbols: Iterable[str]) -> int:
    """Take instruments off the user's watch list; return how many were on it."""
    held = Subscription.objects.filter(account__user=user_id, holder=watch_holder(user_id))
    names = set(symbols)
    gone = [row for row in held.select_related("instrument") if row.instrument.symbol in names]
    for row in gone:
        _subscriptions.release(row.holder, row.account_id, row.instrument_id)
    return len(gone)


def find(user_id: int, symbol: str) -> tuple[int, int]:
    """Return (account id, instrument id) that ``watch`` would take for ``symbol``; raises ``WatchError``."""
    return _find(symbol, _accounts(user_id))


def _accounts(user_id: int) -> list[BrokerAccount]:
    accounts = list(BrokerAccount.objects.filter(user=user_id).order_by("-desired_state", "pk"))
    if not accounts:
        raise WatchError("You have no broker account yet: add one, then watch instruments.")
    return accounts


def _find(symbol: str, accounts: list[BrokerAccount]) -> tuple[int, int]:
    """Return (account id, instrument id) of the first account whose broker lists ``symbol``."""
    exchange, colon, tradingsymbol = symbol.partition(":")
    if not colon or not exchange or not tradingsymbol:
        raise WatchError(
            f"{symbol or 'An empty name'} is not an instrument: write EXCHANGE:SYMBOL, such as NSE:INFY."
        )
    rows = Instrument.objects.filter(exchange=exchange, tradingsymbol=tradingsymbol)
    listed = {row.broker: row.pk for row in rows}
    for account in accounts:
        if account.broker in listed:
            return account.pk, listed[account.broker]
    raise WatchError(f"{symbol} is not in the instrument list of your accounts: check the spelling.")
