"""Which workers live: each moves a row of its own on, and takes it away when it ends in order.

Leases cannot tell: a worker without users has none. All times are the database's own, so the
clocks of workers need not agree. All of it blocks.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models.functions import Now

from marketdata.models import Worker

DEAD_S = 10.0
"""A worker not seen for so long is dead, or as good as dead."""

FORGET = timedelta(hours=1)
"""The row of a dead worker is kept for so long by those that live, unless its name is taken again."""

_HOST_MAX = 80


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker as it was last seen. ``silent_s``: for how long it has not been."""

    name: str
    host: str
    pid: int
    started_at: datetime
    silent_s: float

    @property
    def is_alive(self) -> bool:
        return self.silent_s < DEAD_S


def beat(name: str) -> None:
    """Say that this process lives, under a name that it alone has."""
    mine = Worker.objects.filter(name=name, host=_host(), pid=os.getpid())
    if not mine.update(seen_at=Now()):
        facts = {"host": _host(), "pid": os.getpid(), "started_at": Now(), "seen_at": Now()}
        Worker.objects.update_or_create(name=name, defaults=facts)
    Worker.objects.filter(seen_at__lt=Now() - FORGET).delete()


def leave(name: str) -> None:
    """Say that this process ends: nobody need look for it."""
    Worker.objects.filter(name=name, host=_host(), pid=os.getpid()).delete()


def read() -> list[Presence]:
    """Return every worker that has not left, by name: the dead too."""
    rows = Worker.objects.annotate(read_at=Now()).order_by("name")
    return [
        Presence(row.name, row.host, row.pid, row.started_at, (row.read_at - row.seen_at).total_seconds())
        for row in rows
    ]


def _host() -> str:
    return socket.gethostname()[:_HOST_MAX]
