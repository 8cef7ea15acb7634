"""Who wants which instrument watched: one row for each holder, and their count is the reference count."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet

from marketdata.domain.instruments import canonical
from marketdata.hints import hint
from marketdata.models import Subscription
from marketdata.singletons import Singleton

SubscriptionRows = QuerySet[Subscription]
STRATEGY = "strategy:"
WATCH = "watch:"


def strategy_holder(strategy_id: int) -> str:
    """Return the holder text of a strategy."""
    return f"{STRATEGY}{strategy_id}"


def watch_holder(user_id: int) -> str:
    """Return the holder text of a user's watch list."""
    return f"{WATCH}{user_id}"


class SubscriptionManager:
    """Adds and removes holders. Synchronous; each method may run inside the caller's transaction.

    The rows are the truth: listeners compare them with what they are subscribed to every two
    seconds, so nothing here talks to a listener, and a hint that is lost costs two seconds.
    """

    def on_strategy_started(self, strategy_id: int, account_id: int, instrument_id: int) -> bool:
        """Have the strategy's instrument watched; True when nobody on the account held it before.

        A strategy holds one instrument: what it held under an earlier start is let go.
        """
        holder = strategy_holder(strategy_id)
        with transaction.atomic():
            Subscription.objects.filter(holder=holder).exclude(
                account_id=account_id, instrument_id=instrument_id
            ).delete()
            return self.hold(holder, account_id, instrument_id)

    def on_strategy_stopped(self, strategy_id: int) -> bool:
        """Let go of what the strategy held; True when an instrument has no holder left by it."""
        with transaction.atomic(savepoint=False):
            held = list(Subscription.objects.filter(holder=strategy_holder(strategy_id)))
            emptied = [self.release(row.holder, row.account_id, row.instrument_id) for row in held]
            return any(emptied)

    def hold(self, holder: str, account_id: int, instrument_id: int) -> bool:
        """Add ``holder``, once however often it is called; True when it is the first one."""
        with transaction.atomic():
            is_first = not self._held(account_id, instrument_id).exists()
            _, is_new = Subscription.objects.get_or_create(
                account_id=account_id, instrument_id=instrument_id, holder=holder
            )
            if is_new:
                self._hint_after_commit()
            return is_first

    def release(self, holder: str, account_id: int, instrument_id: int) -> bool:
        """Remove ``holder``; True when it was there and nobody is left."""
        with transaction.atomic(savepoint=False):
            rows = self._held(account_id, instrument_id)
            removed, _ = rows.filter(holder=holder).delete()
            if removed:
                self._hint_after_commit()
            return bool(removed) and not rows.exists()

    def get_subscribed_symbols(self, account_id: int | None = None) -> set[str]:
        """Return the symbols that anybody holds, on one account or on all."""
        rows = Subscription.objects.all() if account_id is None else self._of(account_id)
        names = rows.values_list("instrument__exchange", "instrument__tradingsymbol").distinct()
        return {canonical(exchange, name) for exchange, name in names}

    def get_strategy_count(self, symbol: str, account_id: int | None = None) -> int:
        """Return how many strategies hold ``symbol`` (canonical), on one account or on all."""
        exchange, _, name = symbol.partition(":")
        rows = Subscription.objects.all() if account_id is None else self._of(account_id)
        wanted = rows.filter(instrument__exchange=exchange, instrument__tradingsymbol=name)
        return wanted.filter(holder__startswith=STRATEGY).values("holder").distinct().count()

    def hint(self) -> None:
        """Tell the listeners to look now; call it after the commit."""
        hint()

    @staticmethod
    def _of(account_id: int) -> SubscriptionRows:
        return Subscription.objects.filter(account_id=account_id)

    def _held(self, account_id: int, instrument_id: int) -> SubscriptionRows:
        return self._of(account_id).filter(instrument_id=instrument_id)

    def _hint_after_commit(self) -> None:
        transaction.on_commit(self.hint, robust=True)


_singleton = Singleton(SubscriptionManager)
get_subscription_manager = _singleton.get
set_subscription_manager = _singleton.set
