"""What the badges of an admin page say now, as far as whoever looks may see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import parse_qs

from django.db.models import Count, Q

from marketdata.badges import Said, listener_badges
from marketdata.models import BrokerAccount
from strategies.badges import exit_badge, present_market, strategy_badge, with_parts
from strategies.domain.exits import ExitState
from strategies.live.state import Market
from strategies.models import Alert, Exit, Strategy
from strategies.protection import Protection, protection

Key = tuple[str, int, str]
"""Kind, primary key, field: ``data-live``, ``data-pk`` and ``data-field`` of a badge."""
Asked = Mapping[str, Collection[int]]
_MOST = 300
HOUSE = 0
"""The key of what there is one of."""


def asked_for(query: str) -> Asked:
    """Read which rows a page shows: ``listener=1,2&strategy=7``. What is no number is left out."""
    found = {kind: values[-1].split(",")[:_MOST] for kind, values in parse_qs(query).items()}
    return {kind: {int(pk) for pk in pks if pk.isdecimal() and len(pk) < 19} for kind, pks in found.items()}


def may_see(user: Any, model: str) -> bool:
    """Tell whether the admin would show rows of ``app.model`` to this user."""
    app, _, name = model.partition(".")
    return any(user.has_perm(f"{app}.{verb}_{name}") for verb in ("view", "change"))


def read_badges(user: Any, asked: Asked) -> dict[Key, Said]:
    """Return what is asked for and may be seen. Blocks: a few short queries for each kind."""
    market = present_market()
    found: dict[Key, Said] = {}
    for kind, (models, read) in _KINDS.items():
        if asked.get(kind) and any(may_see(user, model) for model in models):
            found.update(read(asked[kind], market))
    return found


def protection_badge(known: Protection) -> Said:
    """Say how many armed stops are watched, and how many exits need somebody."""
    stuck = len(known.unprotected) - (known.armed - known.protected)
    text = f"{known.protected} of {known.armed} armed stops watched" if known.armed else "No stop is armed"
    needy = f", {stuck} {'exit needs' if stuck == 1 else 'exits need'} a person" if stuck else ""
    return text + needy, "bad" if known.unprotected else "good" if known.armed else "quiet"


def alerts_badge() -> Said:
    """Say how many alerts nobody has acknowledged."""
    urgent = Count("pk", filter=Q(urgency=Alert.Urgency.URGENT))
    waiting = Alert.objects.filter(closed_at=None, acknowledged_at=None)
    count = waiting.aggregate(all=Count("pk"), urgent=urgent)
    if not count["all"]:
        return "None waits for an answer", "good"
    wait = "waits" if count["all"] == 1 else "wait"
    return f"{count['all']} {wait} for an answer, {count['urgent']} urgent", "bad" if count[
        "urgent"
    ] else "busy"


def exits_badge() -> Said:
    """Say how many exits are under way, and how many need somebody."""
    needy = Count("pk", filter=Q(state=ExitState.NEEDS_HUMAN))
    open_ = Exit.objects.exclude(state__in=(ExitState.DONE, ExitState.ABORTED))
    count = open_.aggregate(all=Count("pk"), needy=needy)
    if not count["all"]:
        return "None under way", "quiet"
    text = f"{count['all']} under way" + (f", {count['needy']} need a person" if count["needy"] else "")
    return text, "bad" if count["needy"] else "busy"


def _listeners(pks: Collection[int], market: Market) -> dict[Key, Said]:
    rows = BrokerAccount.objects.filter(pk__in=pks).select_related("listener")
    return {
        ("listener", row.pk, field): said
        for row in rows
        for field, said in listener_badges(row, market.now).items()
    }


def _strategies(pks: Collection[int], market: Market) -> dict[Key, Said]:
    rows = with_parts(Strategy.objects.filter(pk__in=pks))
    return {("strategy", row.pk, "state"): strategy_badge(row, market) for row in rows}


def _exits(pks: Collection[int], _: Market) -> dict[Key, Said]:
    rows = Exit.objects.filter(pk__in=pks).prefetch_related("orders")
    return {("exit", row.pk, "state"): exit_badge(row) for row in rows}


def _protection(_: Collection[int], market: Market) -> dict[Key, Said]:
    return {("protection", HOUSE, "score"): protection_badge(protection(None, market.now, market.calendar))}


def _alert_count(*_: object) -> dict[Key, Said]:
    return {("alerts", HOUSE, "count"): alerts_badge()}


def _exit_count(*_: object) -> dict[Key, Said]:
    return {("exits", HOUSE, "count"): exits_badge()}


_Read = Callable[[Collection[int], Market], dict[Key, Said]]
_KINDS: Mapping[str, tuple[tuple[str, ...], _Read]] = {
    "listener": (("marketdata.listener", "marketdata.brokeraccount"), _listeners),
    "strategy": (("strategies.strategy",), _strategies),
    "exit": (("strategies.exit",), _exits),
    "protection": (("strategies.strategy",), _protection),
    "alerts": (("strategies.alert",), _alert_count),
    "exits": (("strategies.exit",), _exit_count),
}
