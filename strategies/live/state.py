"""Everything a user's page shows that the database knows, as plain rows.

Every query starts from the user: no id that a client sent reaches it. Prices are not read
here; they come from the cache and the feed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from django.conf import settings
from django.db.models import Count, F, Prefetch
from django.urls import reverse

from marketdata.domain.sessions import Calendar
from marketdata.evidence import is_reported
from marketdata.logins import token_life
from marketdata.models import BrokerAccount, Instrument, Listener, ListenerEvent, Subscription
from marketdata.subscriptions import watch_holder
from marketdata.wanted import read_calendar
from strategies.domain.exits import ExitState
from strategies.live import words
from strategies.live.alerts import alert_rows
from strategies.live.score import score_of
from strategies.live.texts import decimals, milliseconds, price_text
from strategies.models import Exit, Strategy, StrategyEvent
from strategies.protection import Judge, is_held
from strategies.switches import mode_of

Row = dict[str, Any]
_ONE_BY_ONE = frozenset({"NSE", "BSE", "NFO", "BFO"})
"""Exchanges where a quantity counts shares or units. Elsewhere it counts lots, whose size no list tells."""
_CLOSED_SHOWN = 10
_EXITS_SHOWN = 20
_EVENTS_SHOWN = 60


@dataclass
class State:
    """The rows of one user's page."""

    strategies: list[Row] = field(default_factory=list)
    watch: list[Row] = field(default_factory=list)
    exits: list[Row] = field(default_factory=list)
    listeners: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)  # newest first
    alerts: list[Row] = field(default_factory=list)  # what waits for an answer first

    @cached_property
    def score(self) -> Row:
        return score_of(self.strategies, self.listeners)

    @property
    def symbols(self) -> set[str]:
        return {row["symbol"] for row in (*self.strategies, *self.watch)}


@dataclass(frozen=True)
class Market:
    """A moment, and what the calendar says of it."""

    now: datetime
    calendar: Calendar

    @cached_property
    def judge(self) -> Judge:
        """Tells which stops are watched: each account is judged once."""
        return Judge(self.now, self.calendar)


def read_state(user_id: int, now: datetime) -> State:
    """Read one user's page. Blocks: about ten short queries."""
    market = Market(now, read_calendar(always=settings.MARKET_HOURS == "always"))
    return State(
        strategies=[strategy_row(row, market) for row in _strategies(user_id)],
        watch=[_watch_row(row, market) for row in _watched(user_id)],
        exits=[_exit_row(row) for row in _exits(user_id)],
        listeners=[_listener_row(account, now) for account in _accounts(user_id)],
        events=_events(user_id),
        alerts=alert_rows(user_id, now),
    )


def one_strategy(user_id: int, pk: int, now: datetime) -> Row | None:
    """Return the row of one of the user's strategies; None when it is not theirs."""
    row = _own_strategies(user_id).filter(pk=pk).first()
    calendar = read_calendar(always=settings.MARKET_HOURS == "always")
    return None if row is None else strategy_row(row, Market(now, calendar))


# --- strategies -------------------------------------------------------------------------


def strategy_row(strategy: Strategy, market: Market) -> Row:
    """Return a strategy as the page shows it; ``present_exits`` have been prefetched."""
    exits: list[Exit] = strategy.present_exits  # type: ignore[attr-defined]  # prefetched
    # Read a moment later, it may be the exit of an arming that this row does not know of yet.
    exit_ = next((row for row in exits if row.epoch == strategy.epoch), None)
    armed = strategy.status == Strategy.Status.ACTIVE and strategy.position != Strategy.Position.NONE
    trouble = _why_unwatched(strategy, market) if armed else ""
    said = words.strategy_words(strategy, exit_, trouble)
    tick_size = strategy.instrument.tick_size
    return {
        "id": strategy.pk,
        "title": strategy.name or strategy.symbol,
        "symbol": strategy.symbol,
        "decimals": decimals(tick_size),
        "open": market.judge.is_open(strategy.instrument.exchange),
        "account": str(strategy.account),
        "simulated": strategy.account.broker in settings.SIMULATED_BROKERS,
        "is_live": mode_of(strategy.account, strategy) == "LIVE",
        "status": strategy.status,
        "armed": armed,
        "unwatched": trouble,
        "state": said.text,
        "tone": said.tone,
        "detail": said.detail,
        "position": strategy.position,
        "product": strategy.product,
        "quantity": strategy.quantity,
        "units": strategy.quantity if strategy.instrument.exchange in _ONE_BY_ONE else None,
        "entry": price_text(strategy.entry_price, tick_size),
        "stop": price_text(strategy.stop_loss, tick_size),
        "sl_triggered": strategy.sl_triggered,
        "can_start": strategy.status in ("draft", "closed", "suspended"),
        "can_stop": strategy.status == "active",
        "can_exit": strategy.status == "active" and strategy.position != "NONE",
    }


def _why_unwatched(strategy: Strategy, market: Market) -> str:
    reason = market.judge.why_unprotected(strategy)
    return reason.removeprefix(f"{strategy.symbol}: ")  # the row names it anyway


def present_exits() -> Any:
    """Return what to prefetch for ``strategy_row``: the exit of the present arming, with its orders."""
    present = Exit.objects.filter(epoch=F("strategy__epoch")).prefetch_related("orders")
    # A list of its own: a related manager, made for each of thousands of strategies, takes longer than all else.
    return Prefetch("exits", present, to_attr="present_exits")


def _own_strategies(user_id: int) -> Any:
    return (
        Strategy.objects.filter(user=user_id)
        # Prefetched, an account is one object for all its strategies, and its credentials are decrypted once.
        .prefetch_related("account__listener", present_exits())
        .annotate(is_held=is_held())
    )


def _strategies(user_id: int) -> Iterable[Strategy]:
    closed = Strategy.Status.CLOSED
    # Read by themselves: an instrument is one object for all its strategies.
    instruments = Instrument.objects.filter(strategies__user=user_id).distinct().in_bulk()
    own = _own_strategies(user_id)
    for rows in (
        own.exclude(status=closed).order_by("pk"),
        own.filter(status=closed).order_by("-pk")[:_CLOSED_SHOWN],
    ):
        for row in rows:
            if row.instrument_id in instruments:  # else it came in between, and is read when it is looked at
                row.instrument = instruments[row.instrument_id]
            yield row


# --- exits ------------------------------------------------------------------------------


def _exits(user_id: int) -> Iterable[Exit]:
    own = Exit.objects.filter(strategy__user=user_id).select_related("strategy__instrument")
    return own.prefetch_related("orders").order_by("-pk")[:_EXITS_SHOWN]


def _exit_row(exit_: Exit) -> Row:
    said = words.exit_words(exit_)
    tick_size = exit_.strategy.instrument.tick_size
    return {
        "id": exit_.pk,
        "strategy": exit_.strategy_id,
        "title": exit_.strategy.name or exit_.strategy.symbol,
        "symbol": exit_.strategy.symbol,
        "decimals": decimals(tick_size),
        "reason": exit_.reason,
        "trigger": price_text(exit_.trigger_price, tick_size),
        "quantity": exit_.quantity,
        "status": exit_.state,
        "can_decide": exit_.state == ExitState.NEEDS_HUMAN,
        "state": said.text,
        "tone": said.tone,
        "detail": said.detail,
        "at": milliseconds(exit_.created_at),
        "filled": sum(row.filled_quantity for row in exit_.orders.all()),
    }


# --- listeners and what is watched ------------------------------------------------------


def _accounts(user_id: int) -> Iterable[BrokerAccount]:
    wanted = Count("subscriptions__instrument", distinct=True)
    own = BrokerAccount.objects.filter(user=user_id).select_related("listener")
    return own.annotate(wanted_count=wanted).order_by("pk")


def _listener_row(account: BrokerAccount, now: datetime) -> Row:
    listener: Listener | None = getattr(account, "listener", None)
    running = account.desired_state == BrokerAccount.DesiredState.RUNNING
    said = words.listener_words(listener, wanted=running)
    silent = running and not is_reported(listener, now)
    life = token_life(account, now)
    refused = not silent and listener is not None and listener.state == Listener.State.LOGIN_NEEDED
    return {
        "id": account.pk,
        "name": str(account),
        "broker": account.get_broker_display(),
        "simulated": account.broker in settings.SIMULATED_BROKERS,
        "paper": account.paper,
        "running": running,
        "state": "Not reporting: start the listeners" if silent else said.text,
        "tone": words.BAD if silent else said.tone,
        "connected": not silent and listener is not None and listener.state == Listener.State.CONNECTED,
        "subscribed": 0 if silent or listener is None else listener.subscription_count,
        "wanted": getattr(account, "wanted_count", 0),
        "login": "Login no longer accepted" if refused and life.holds else life.text,
        "logged_in": life.holds and not refused,
        "account_url": reverse("broker-account", args=[account.pk]),
        "login_url": reverse("broker-login", args=[account.pk]),
        "last_tick_at": None if listener is None else milliseconds(listener.last_tick_at),
        "reconnects": 0 if listener is None else listener.reconnect_attempts,
        "error": "" if listener is None else listener.last_error,
    }


def _watched(user_id: int) -> Iterable[Subscription]:
    """Return one row for each instrument, whichever of the user's accounts carry it."""
    rows = Subscription.objects.filter(account__user=user_id, holder=watch_holder(user_id))
    first: dict[str, Subscription] = {}
    for row in rows.select_related("account", "instrument").order_by("pk"):
        first.setdefault(row.instrument.symbol, row)
    return first.values()


def _watch_row(row: Subscription, market: Market) -> Row:
    instrument: Instrument = row.instrument
    return {
        "id": row.pk,
        "symbol": instrument.symbol,
        "title": instrument.name or instrument.get_instrument_type_display(),
        "decimals": decimals(instrument.tick_size),
        "open": market.judge.is_open(instrument.exchange),
        "account": str(row.account),
    }


# --- events -----------------------------------------------------------------------------


def _events(user_id: int) -> list[Row]:
    of_strategies = StrategyEvent.objects.filter(strategy__user=user_id).select_related(
        "strategy__instrument"
    )
    of_feeds = ListenerEvent.objects.filter(account__user=user_id).select_related("account")
    rows = [strategy_event_row(event) for event in of_strategies.order_by("-pk")[:_EVENTS_SHOWN]]
    rows += [_listener_event_row(event) for event in of_feeds.order_by("-pk")[: _EVENTS_SHOWN // 2]]
    return sorted(rows, key=lambda row: (row["at"], row["id"]), reverse=True)[:_EVENTS_SHOWN]


def strategy_event_row(event: StrategyEvent) -> Row:
    """Return something that happened to a strategy as the page shows it."""
    said = words.event_words(event.kind, event.detail)
    return {
        "id": f"s{event.pk}",
        "at": milliseconds(event.at),
        "subject": str(event.strategy),
        "strategy": event.strategy_id,
        "text": said.text,
        "tone": said.tone,
    }


def _listener_event_row(event: ListenerEvent) -> Row:
    said = words.event_words(event.kind, event.detail)
    return {
        "id": f"l{event.pk}",
        "at": milliseconds(event.at),
        "subject": str(event.account),
        "strategy": None,
        "text": said.text,
        "tone": said.tone,
    }
