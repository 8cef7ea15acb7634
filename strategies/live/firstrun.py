"""What a new user does, in order, from an empty account to the first protected position."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet
from django.urls import reverse

from marketdata.loading import Loading, command, loading_of
from marketdata.logins import moment_text, token_life
from marketdata.models import BrokerAccount, InstrumentList, ListenerEvent
from marketdata.wanted import read_calendar
from strategies.models import AlertChannel, Strategy
from strategies.protection import protection

AGAIN_AFTER = timedelta(hours=1)
"""A list this young is not loaded again: brokers make a new one each morning."""


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to do. ``post``: its button changes something, so it is a form's."""

    title: str
    text: str
    is_done: bool
    link: str = ""
    button: str = ""
    post: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True)
class FirstRun:
    """All there is to do; the first task that is not done comes next."""

    tasks: Sequence[Task]
    is_loading: bool = False

    @property
    def next(self) -> Task | None:
        return next((task for task in self.tasks if not task.is_done), None)

    @property
    def done(self) -> int:
        return sum(task.is_done for task in self.tasks)


def is_over(user_id: int) -> bool:
    """Tell whether a strategy of the user was ever armed and the feed of its account ever connected."""
    connected = ListenerEvent.objects.filter(account=OuterRef("account"), kind="connected")
    return _started(user_id).filter(Exists(connected)).exists()


def first_run(user_id: int, now: datetime) -> FirstRun:
    """Return where a user stands. Blocks: some short queries."""
    accounts = list(BrokerAccount.objects.filter(user=user_id).order_by("pk"))
    if not accounts:
        return FirstRun([_account(None), *map(_later, ("login", "list", "strategy", "start", "protected"))])
    account = accounts[0]
    loading = loading_of(account.broker)
    tasks = [
        _account(account),
        _login(account, now),
        _list(account, loading, now),
        *_strategies(user_id),
        _protected(user_id, now),
    ]
    return FirstRun(tasks, loading.is_running)


def why_not_load(broker: str, now: datetime) -> str:
    """Say why a list is not to be loaded from a page now; empty when it may be."""
    row = InstrumentList.objects.filter(broker=broker).first()
    if row is not None and now - row.imported_at < AGAIN_AFTER:
        return f"It was loaded at {moment_text(row.imported_at, now)}."
    # SQLite has one writer: for some seconds an exit could not be written.
    armed = Strategy.objects.filter(status__in=(Strategy.Status.ACTIVE, Strategy.Status.EXITING))
    if connection.vendor == "sqlite" and armed.exists():
        return (
            "Stops are armed on this installation, and loading would hold up its database for some seconds."
        )
    return ""


# --- the tasks ----------------------------------------------------------------------------------

_TITLES = {
    "account": "Add your broker account",
    "login": "Log in at the broker",
    "list": "Load the instrument list",
    "strategy": "Enter a position and its stop",
    "start": "Start it",
    "protected": "See it protected",
}
_TEXTS = {
    "account": "The account that holds your positions. It stays yours: nobody else here sees it.",
    "login": "Prices arrive and exits can be sent only while you are logged in. Brokers end logins every day.",
    "list": "The names of everything that your broker trades, so that you can choose what to watch.",
    "strategy": "What you hold, how much of it, and the price at which to leave.",
    "start": "From then on every price is checked against the stop.",
    "protected": "The live page says so only while prices arrive and an exit could be sent.",
}


def _later(name: str) -> Task:
    return Task(_TITLES[name], _TEXTS[name], is_done=False)


def _account(account: BrokerAccount | None) -> Task:
    text = _TEXTS["account"] if account is None else f"{account} is there."
    return Task(_TITLES["account"], text, account is not None, reverse("broker-new"), "Add an account")


def _login(account: BrokerAccount, now: datetime) -> Task:
    life = token_life(account, now)
    text = f"{life.text}." if life.holds else _TEXTS["login"]
    return Task(_TITLES["login"], text, life.holds, reverse("broker-account", args=[account.pk]), "Log in")


def _list(account: BrokerAccount, loading: Loading, now: datetime) -> Task:
    title, row = _TITLES["list"], InstrumentList.objects.filter(broker=account.broker).first()
    if loading.is_running:
        return Task(
            title, f"Loading: {loading.said or 'asking the broker'}. It takes up to a minute.", is_done=False
        )
    if row is not None:
        return Task(title, f"Loaded at {moment_text(row.imported_at, now)}.", is_done=True)
    typed = shlex.join(["python", *command(account.broker, account.pk)])
    text = f"The last try ended with: {loading.said}" if loading.said else _TEXTS["list"]
    if reason := why_not_load(account.broker, now):
        return Task(
            title, f"{reason} Have this command run while nothing is armed:", is_done=False, command=typed
        )
    link = reverse("list-load", args=[account.pk])
    return Task(title, text, is_done=False, link=link, button="Load it now", post=True, command=typed)


def _strategies(user_id: int) -> list[Task]:
    unfinished = {"position": Strategy.Position.NONE, "status": Strategy.Status.DRAFT}
    own = Strategy.objects.filter(user=user_id).exclude(**unfinished).order_by("pk")
    first, started = own.first(), _started(user_id).exists()
    entered = Task(
        _TITLES["strategy"], _TEXTS["strategy"], first is not None, reverse("strategy-new"), "New strategy"
    )
    if first is None:
        return [entered, _later("start")]
    link = reverse("timeline", args=[first.pk])
    return [entered, Task(_TITLES["start"], _TEXTS["start"], started, link, f"Look at {first}")]


def _started(user_id: int) -> QuerySet[Strategy]:
    return Strategy.objects.filter(user=user_id).exclude(status=Strategy.Status.DRAFT)


def _protected(user_id: int, now: datetime) -> Task:
    found = protection(user_id, now, read_calendar(always=settings.MARKET_HOURS == "always"))
    if found.protected:
        text = "It is. The live page tells you the moment it is not."
        return Task(_TITLES["protected"], text, is_done=True)
    if is_over(user_id):
        text = "It was. The live page says how your stops are now."
        return Task(_TITLES["protected"], text, is_done=True)
    if not found.unprotected:
        return _later("protected")
    reason = found.unprotected[0].reason
    text = f"Not yet: {reason}."
    if reason == "the listeners are not running":
        return Task(
            _TITLES["protected"], f"{text} Start them with:", False, command="python manage.py run_listeners"
        )
    return Task(_TITLES["protected"], text, False, reverse("live"), "Live page")


def has_channel(user_id: int) -> bool:
    """Tell whether alerts reach the user when no page is open."""
    return bool(settings.ALERT_URLS) or AlertChannel.objects.filter(user=user_id, enabled=True).exists()
