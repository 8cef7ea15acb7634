"""Daphne with everything that a viewer needs to be let in: a database of its own, a user, a login, a watch list."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.viewers import symbols
from tests.support.ports import free_port
from tests.support.processes import Process, python
from tests.support.valkey import private_valkey


@dataclass
class Server:
    """The running process, and who watches."""

    process: Process
    port: int
    redis: str
    user_id: int
    cookie: str

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": self.cookie, "Origin": f"https://127.0.0.1:{self.port}"}

    def processor_s(self) -> float:
        """Return the processor time it has used, in seconds."""
        # The kernel's clock of another process, threads included: man clock_getcpuclockid.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def memory(self) -> int:
        """Return its resident bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def fill(instruments: int) -> tuple[int, str]:
    """Make one user who watches all instruments; return their id and the cookie of a login."""
    from datetime import timedelta
    from decimal import Decimal

    from django.conf import settings
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client
    from django.utils import timezone

    from marketdata.models import BrokerAccount, Instrument, Lease, Subscription
    from marketdata.subscriptions import watch_holder

    call_command("migrate", verbosity=0)
    user = User.objects.create_user("bench")
    account = BrokerAccount.objects.create(user=user, broker="zerodha", name="Bench", client_id="BE0001")
    tick = Decimal("0.05")
    rows = [
        Instrument(broker="zerodha", exchange="NSE", tradingsymbol=symbol[4:], token=str(n), tick_size=tick)
        for n, symbol in enumerate(symbols(instruments))
    ]
    holder = watch_holder(user.pk)
    Subscription.objects.bulk_create(
        Subscription(account=account, instrument=row, holder=holder)
        for row in Instrument.objects.bulk_create(rows)
    )
    Lease.objects.create(user=user, worker="bench", token=1, expires_at=timezone.now() + timedelta(days=1))
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return user.pk, f"{name}={client.cookies[name].value}"


@asynccontextmanager
async def house(instruments: int) -> AsyncIterator[Server]:
    from asgiref.sync import sync_to_async

    with ExitStack() as stack:
        valkey = stack.enter_context(private_valkey())
        user_id, cookie = await sync_to_async(fill)(instruments)
        port = free_port()
        command = (
            "-m",
            "daphne",
            "-b",
            "127.0.0.1",
            "-p",
            str(port),
            "--ping-interval",
            "5",
            "--ping-timeout",
            "10",
        )
        process = stack.enter_context(
            python(*command, "tests.benchmarks.server:application", env={"REDIS_URL": valkey.url})
        )
        process.wait_for("Listening on TCP", 60)
        yield Server(process, port, valkey.url, user_id, cookie)
