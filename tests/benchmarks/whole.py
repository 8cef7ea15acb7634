"""The product as it is shipped, for rows that measure its processes: a database, the simulated broker, `run_listeners`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path

from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone

from marketdata.domain.instruments import Contract
from marketdata.domain.prices import round_down
from marketdata.domain.sessions import Calendar
from marketdata.listening import keep_running
from marketdata.models import BrokerAccount, Subscription
from strategies.models import Strategy
from strategies.protection import Protection, protection
from tests.crash.world import use
from tests.support.house import House
from tests.support.postgres import PROGRAMS, private_postgres
from tests.support.simulator import start_simulator
from tests.support.trader import contracts, endpoints, forget_lists
from tests.support.valkey import private_valkey

POSTGRES, SQLITE = "PostgreSQL", "SQLite"
DATABASES = (POSTGRES, SQLITE) if PROGRAMS is not None else (SQLITE,)
"""Where each figure is taken: both on a disk that has to have what was committed."""

_LISTED = 3_100
_KINDS = ("EQ", "FUT", "CE", "PE")
_EXCHANGES = ("NSE", "BSE", "NFO")


@contextmanager
def whole_house(kind: str, instruments: int = _LISTED) -> Iterator[House]:
    """Give a house with an empty database of ``kind``, which this process uses too for the block."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tickguard-benchmark-")))
        url = f"sqlite:///{folder / 'benchmark.sqlite3'}"
        if kind == POSTGRES:
            url = stack.enter_context(private_postgres()).create("benchmark")
        stack.callback(use, os.environ["DATABASE_URL"])
        use(url)
        call_command("migrate", verbosity=0)
        simulator = stack.enter_context(start_simulator(folder, instruments=instruments))
        valkey = stack.enter_context(private_valkey())
        env = {**simulator.env, "REDIS_URL": valkey.url, "LOCK_DIR": str(folder), "DATABASE_URL": url}
        env["DEBUG"] = "0"  # with it Django keeps every query
        stack.enter_context(override_settings(BROKER_ENDPOINTS=endpoints(simulator)))
        simulator.control.enforce_limits()
        forget_lists()
        yield House(simulator, valkey, env, stack.enter_context(ExitStack()))


def listed(count: int) -> Sequence[Contract]:
    """Return what Kite's list has, shares first, then futures; raises ``AssertionError`` where it is too little."""
    found = [one for one in contracts("zerodha").values() if one.instrument_type in _KINDS]
    if len(found) < count:
        raise AssertionError(f"the list has {len(found)} instruments, {count} are needed")
    far = len(_EXCHANGES)
    places = {name: place for place, name in enumerate(_EXCHANGES)}
    return sorted(
        found,
        key=lambda one: (_KINDS.index(one.instrument_type), places.get(one.exchange, far), one.symbol),
    )[:count]


def armed(account: BrokerAccount, strategies: Iterable[Strategy]) -> list[Strategy]:
    """Store active strategies with their subscriptions, and have their account run."""
    rows = Strategy.objects.bulk_create(strategies)
    Subscription.objects.bulk_create(
        Subscription(account=account, instrument=one.instrument, holder=f"strategy:{one.pk}") for one in rows
    )
    keep_running([account.pk], by=None, reason="benchmark")
    return rows


def part_of(price: Decimal, share: Decimal, tick: Decimal) -> Decimal:
    """Return a valid price at ``share`` of ``price``."""
    return round_down(price * share, tick)


def judged() -> Protection:
    """Return what the product says of all stops now, as page and health show it."""
    return protection(None, timezone.now(), Calendar(always=True))
