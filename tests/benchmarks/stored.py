"""Rows about the database: what a start, an import and a page read, of a database as large as it gets."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from decimal import Decimal
from itertools import cycle
from pathlib import Path

from django.contrib.auth.models import User
from django.core.management import call_command

from marketdata.clock import SystemClock
from marketdata.domain.sessions import Calendar
from marketdata.models import BrokerAccount, Instrument, Listener, Subscription
from marketdata.wanted import WantedReader
from strategies.arming import ArmedReader
from strategies.live.changes import changed_rows, is_same_set
from strategies.live.state import read_state
from strategies.models import Strategy
from strategies.monitor import StopLossMonitor
from strategies.protection import protection
from tests.benchmarks.figures import Row, plain_row
from tests.benchmarks.plan import Plan

INSTRUMENTS, STRATEGIES, MANY, LISTED = 3_000, 10_000, 100_000, 120_000
_HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,"
    "tick_size,lot_size,instrument_type,segment,exchange\n"
)


def measured(plan: Plan) -> Iterable[Row]:
    """Read and arm 10,000 strategies, show a page of 3,000 instruments, import a list of 120,000 rows."""
    call_command("migrate", verbosity=0)
    user = _filled()
    rounds = range(plan.rounds)
    note = f"{STRATEGIES:,} strategies on {INSTRUMENTS:,} instruments, SQLite"
    yield plain_row(
        "stored",
        "reading and arming all stops",
        "CPU s",
        [_cpu_s(lambda: _armed(STRATEGIES)) for _ in rounds],
        None,
        note,
    )
    yield from _again(plan, STRATEGIES)
    page = [_cpu_s(lambda: read_state(user.pk, datetime.now(UTC))) for _ in rounds]
    note = f"{INSTRUMENTS:,} watched instruments and {STRATEGIES:,} strategies of one user"
    yield plain_row("stored", "snapshot of the page", "CPU s", page, None, note)
    again = [_cpu_s(_looking_again(user)) for _ in rounds]
    yield plain_row("stored", "looking at the page again, nothing changed", "CPU s", again, None, note)
    count = LISTED // 10 if plan.is_quick else LISTED
    with tempfile.TemporaryDirectory() as folder:
        listed = _list(Path(folder) / "instruments.csv", count)
        began = time.perf_counter()
        _import(listed)
        took = time.perf_counter() - began
    note = f"{count:,} rows of Kite's list into a database without them, SQLite"
    yield plain_row("stored", "import of an instrument list", "s", [took], None, note)
    if not plan.is_quick:
        _start(user, MANY - STRATEGIES)
        yield from _again(plan, MANY)


def _again(plan: Plan, count: int) -> Iterable[Row]:
    """What is asked of the database every few seconds, most of the time: nothing has changed, all is well."""
    reader, monitor = _armed(count)
    wanted, now = WantedReader(), datetime.now(UTC)
    wanted.read()
    Listener.objects.update(reported_at=now, last_tick_at=now)
    works: dict[str, Callable[[], object]] = {
        "reading stops again and comparing, every 2 s": lambda: monitor.reconcile(reader.read()[0]),
        "reading again what feeds carry, every 2 s": wanted.read,
        "looking which stops are protected, every 5 s": lambda: _all_protected(now, count),
    }
    note = f"CPU; {count:,} strategies on {INSTRUMENTS:,} instruments of one account, SQLite"
    for what, work in works.items():
        found = [_cpu_s(work) * 1e9 / count for _ in range(plan.rounds)]
        yield plain_row("stored", f"{what}, {count:,}", "ns/stop", found, None, note)


def _all_protected(now: datetime, count: int) -> None:
    found = protection(None, now, Calendar(always=True))
    if found.protected != count:
        raise AssertionError(f"{found.protected} of {count} stops are protected")


def _looking_again(user: User) -> Callable[[], None]:
    """Return what a room does every three seconds while anybody is in it."""
    before = read_state(user.pk, datetime.now(UTC))
    assert before.score  # told when it was read

    def look() -> None:
        after = read_state(user.pk, datetime.now(UTC))
        assert is_same_set(before, after)
        assert not changed_rows(before, after)

    return look


def _armed(count: int) -> tuple[ArmedReader, StopLossMonitor]:
    reader = ArmedReader()
    monitor = StopLossMonitor(lambda _: None, SystemClock(), later=lambda _, __: None)
    stops, unarmed = reader.read()
    monitor.reconcile(stops)
    if unarmed or monitor.armed_count != count:
        raise AssertionError(f"{monitor.armed_count} of {count} stops were armed")
    return reader, monitor


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _filled() -> User:
    user = User.objects.create_user("bench")
    account = BrokerAccount.objects.create(
        user=user, broker="zerodha", client_id="BE0001", access_token="token", desired_state="running"
    )
    Listener.objects.create(account=account, state=Listener.State.CONNECTED)
    Instrument.objects.bulk_create(
        Instrument(
            broker="zerodha", exchange="NSE", tradingsymbol=f"BENCH{number}", token=str(number << 8 | 1),
            instrument_type="EQ", lot_size=1, tick_size=Decimal("0.05"),
        )
        for number in range(1, INSTRUMENTS + 1)
    )  # fmt: skip
    _start(user, STRATEGIES)
    return user


def _start(user: User, count: int) -> None:
    account = BrokerAccount.objects.get(user=user)
    instruments = Instrument.objects.filter(tradingsymbol__startswith="BENCH")
    strategies = Strategy.objects.bulk_create(
        Strategy(
            user=user, account=account, instrument=instrument, name=f"s{number}", status="active",
            position="BOUGHT", product="MIS", quantity=1, entry_price=Decimal(1500),
            stop_loss=Decimal(1300), epoch=1,
        )
        for number, instrument in zip(range(count), cycle(instruments))
    )  # fmt: skip
    Subscription.objects.bulk_create(
        Subscription(account=account, instrument=one.instrument, holder=f"strategy:{one.pk}")
        for one in strategies
    )


def _list(target: Path, count: int) -> Path:
    with target.open("w") as out:
        out.write(_HEADER)
        for number in range(count):
            token = 1_000_000 + number
            out.write(f"{token << 8 | 1},{token},LISTED{number},NAME,0,,0,0.05,1,EQ,NSE,NSE\n")
    return target


def _import(path: Path) -> None:
    with redirect_stdout(io.StringIO()):
        call_command("import_instruments", "zerodha", "--file", str(path), "--force")
