"""The cards of the cockpit: how everything is, as far as whoever looks may see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from marketdata.badges import Said, listener_badges
from marketdata.domain.sessions import IST
from marketdata.models import BrokerAccount
from project.cockpit.badges import HOUSE, alerts_badge, exits_badge, may_see, protection_badge
from strategies.alerts import named, subject
from strategies.badges import exit_badge, present_market
from strategies.live.state import Market
from strategies.models import Alert, Exit, Strategy
from strategies.protection import protection
from strategies.telling import kind_words

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Badge:
    """One badge: its place, and what it says now."""

    kind: str
    pk: int
    field: str
    said: Said


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a card: where it leads, its badges, what else there is to say, what can be done."""

    title: str
    url: str = ""
    badges: tuple[Badge, ...] = ()
    text: str = ""
    ways: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """``more`` leads to the whole list; ``empty`` says what to do while there are no lines."""

    name: str
    title: str
    more: str
    lines: tuple[Line, ...]
    badge: Badge | None = None
    empty: str = ""


def read_cards(user: Any) -> list[Card]:
    """Return the cards that ``user`` may see, the most urgent first. Blocks."""
    market = present_market()
    cards = (
        ("strategies.strategy", _protection),
        ("marketdata.listener", _listeners),
        ("strategies.alert", _alerts),
        ("strategies.exit", _exits),
    )
    return [read(user, market) for model, read in cards if may_see(user, model)]


def _protection(_: Any, market: Market) -> Card:
    known = protection(None, market.now, market.calendar)
    missing = {row.strategy: row.reason for row in known.unprotected[:_SHOWN]}
    rows = Strategy.objects.select_related("instrument").in_bulk(missing)
    lines = [
        Line(str(rows[pk]), _address("strategies_strategy_change", pk), text=reason)
        for pk, reason in missing.items()
        if pk in rows
    ]
    if len(known.unprotected) > _SHOWN:
        lines.append(Line(f"and {len(known.unprotected) - _SHOWN} more"))
    score = Badge("protection", HOUSE, "score", protection_badge(known))
    more = _address("strategies_strategy_changelist") + "?status__exact=active"
    return Card("protection", "Protection", more, tuple(lines), score, "Nothing is unprotected.")


def _listeners(user: Any, market: Market) -> Card:
    rows = BrokerAccount.objects.select_related("user", "listener").order_by("pk")
    wishes = ("start", "stop", "restart") if user.has_perm("marketdata.control_listener") else ()
    may_open = may_see(user, "marketdata.brokeraccount")
    lines = tuple(_listener(row, market, wishes, may_open=may_open) for row in rows)
    empty = "There is no broker account yet: add one, log in, then import its instruments."
    return Card("listeners", "Listeners", _address("marketdata_listener_changelist"), lines, empty=empty)


def _listener(row: BrokerAccount, market: Market, wishes: Iterable[str], *, may_open: bool) -> Line:
    said = listener_badges(row, market.now)
    running = row.desired_state == BrokerAccount.DesiredState.RUNNING
    sensible = [wish for wish in wishes if (wish == "start") is not running]
    ways = [
        (wish.capitalize(), _address("marketdata_brokeraccount_listener", row.pk, wish)) for wish in sensible
    ]
    return Line(
        f"{row} ({row.user})",
        _address("marketdata_brokeraccount_change", row.pk) if may_open else "",
        tuple(Badge("listener", row.pk, field, said[field]) for field in ("state", "prices", "carries")),
        ways=tuple(ways),
    )


def _alerts(*_: Any) -> Card:
    waiting = named(Alert.objects.filter(closed_at=None, acknowledged_at=None))
    lines = tuple(
        Line(
            " · ".join(
                part
                for part in (alert.mode, subject(alert) or str(alert.user), kind_words(alert.kind))
                if part
            ),
            _address("strategies_alert_change", alert.pk),
            text=alert.text,
        )
        for alert in waiting.order_by("-urgency", "-pk")[:_SHOWN]
    )
    more = _address("strategies_alert_changelist") + "?acknowledged_at__isempty=1&closed_at__isempty=1"
    return Card("alerts", "Alerts", more, lines, Badge("alerts", HOUSE, "count", alerts_badge()))


def _exits(*_: Any) -> Card:
    rows = Exit.objects.select_related("strategy__instrument").prefetch_related("orders").order_by("-pk")
    lines = tuple(
        Line(
            str(row.strategy),
            _address("strategies_exit_change", row.pk),
            (Badge("exit", row.pk, "state", exit_badge(row)),),
            text=f"{row.created_at.astimezone(IST):%d %b %H:%M:%S} IST",
        )
        for row in rows[:_SHOWN]
    )
    count = Badge("exits", HOUSE, "count", exits_badge())
    return Card(
        "exits", "Last exits", _address("strategies_exit_changelist"), lines, count, "There was none yet."
    )


def _address(name: str, *args: Any) -> str:
    return reverse(f"admin:{name}", args=args)
