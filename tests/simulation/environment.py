"""Django in a process of the simulation's own: a database in memory, made once and copied for each session.

To be imported before anything of Django's models.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from tests import environment

if TYPE_CHECKING:
    from collections.abc import Callable

SYMBOLS = ("NSE:INFY", "NSE:SBIN", "NSE:TCS", "NSE:ITC", "NFO:NIFTY26NOVFUT")
LOT, FREEZE = 25, 60
BROKERS = ("zerodha", "dhan")
CLIENTS = ("AB1234", "1100001")


def set_up(*, quick: bool = True) -> None:
    """Start Django on a database in memory and fill it with users, accounts and instruments.

    ``quick`` builds the SQL of each shape of query once.
    """
    os.environ.update({**environment.VARIABLES, "DATABASE_URL": "sqlite://:memory:", "DEBUG": "0"})
    import django

    django.setup()
    logging.disable(logging.CRITICAL)
    from django.core.management import call_command
    from django.db import connection

    from tests.simulation import compiled

    call_command("migrate", verbosity=0)
    if quick:
        compiled.install()
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA foreign_keys=OFF")
    _fill()


def template() -> bytes:
    """Return the database as it stands: what every session begins with."""
    from django.db import connection

    return _raw(connection).serialize()


def renew(database: bytes) -> None:
    """Put the template in the place of whatever the last session left."""
    from django.db import connection

    connection.ensure_connection()
    with sqlite3.connect(":memory:") as source:
        source.deserialize(database)
        source.backup(_raw(connection))
    source.close()


def use_clock(now: Callable[[], datetime]) -> None:
    """Have Django's own ``timezone.now`` tell made-up time; the services stamp their rows with it."""
    from django.utils import timezone

    timezone.now = now


def use_announcer(announcer: object) -> None:
    """Have the services of the web process tell their changes here; hints are lost."""
    from strategies import alerts, services

    services._announcer = alerts._announcer = announcer  # type: ignore[assignment]


def _raw(connection: object) -> sqlite3.Connection:
    return connection.connection  # type: ignore[attr-defined]


def _fill() -> None:
    from django.contrib.auth import get_user_model

    from marketdata.models import BrokerAccount, Instrument

    users = [get_user_model().objects.create(username=f"trader{n}") for n in (1, 2)]
    for user, broker, client_id in zip(users, BROKERS, CLIENTS, strict=True):
        BrokerAccount.objects.create(
            user=user, broker=broker, client_id=client_id, name=f"Account {client_id}",
            access_token="token-1", desired_state="running",
        )  # fmt: skip
        for symbol in SYMBOLS:
            exchange, _, name = symbol.partition(":")
            lot = LOT if exchange == "NFO" else 1
            Instrument.objects.create(
                broker=broker, exchange=exchange, tradingsymbol=name, token=f"{broker}-{name}",
                tick_size=Decimal("0.05"), lot_size=lot, freeze_quantity=FREEZE if lot > 1 else None,
            )  # fmt: skip
