"""From `kill -9` of `run_listeners` until all its stops are protected again, as the product itself says."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from django.utils import timezone

from marketdata.models import BrokerAccount, Instrument, Listener
from strategies.models import Exit, Strategy
from tests.benchmarks.figures import Bound, Row, plain_row
from tests.benchmarks.plan import Plan
from tests.benchmarks.whole import DATABASES, SQLITE, armed, judged, listed, part_of, whole_house
from tests.support.crowd import STOP, THROUGH
from tests.support.house import House
from tests.support.processes import Process
from tests.support.trader import Trader
from tests.support.waiting import eventually

INSTRUMENTS, STRATEGIES = 3_000, 10_000
PROTECTED_S = 60.0
FAR = Decimal(900_000)
BOUND = Bound(10, 5)


def measured(plan: Plan) -> Iterable[Row]:
    """Kill and start again, twice on each database (quick: once on SQLite, with a tenth of the stops)."""
    share = 10 if plan.is_quick else 1
    kinds, rounds = ((SQLITE,), 1) if plan.is_quick else (DATABASES, 2)
    for kind in kinds:
        with whole_house(kind) as house:
            took = _restarts(house, INSTRUMENTS // share, STRATEGIES // share, rounds)
        note = (
            f"{STRATEGIES // share:,} strategies on {INSTRUMENTS // share:,} instruments of one account, one connection; "
            "started again at once; Kite's limits enforced, a quote request a second among them"
        )
        yield plain_row("restart", f"kill -9 → all protected again, {kind}", "s", took, BOUND, note)


def _restarts(house: House, instruments: int, strategies: int, rounds: int) -> list[float]:
    trader = Trader.join("zerodha", house.simulator.control)
    account = trader.account
    rows = _armed(account, instruments, strategies)
    listeners = _started(house, timezone.now(), len(rows))
    took = []
    for _ in range(rounds):
        killed, began = timezone.now(), time.monotonic()
        os.kill(listeners.pid, signal.SIGKILL)
        listeners = _started(house, killed, len(rows))
        took.append(time.monotonic() - began)
    _sells(trader, rows)
    return took


def _started(house: House, since: datetime, count: int) -> Process:
    """Start the listeners and return when every stop is protected by them."""
    process = house.listeners("--worker", "benchmark")
    eventually(lambda: _has_reported(since), PROTECTED_S)
    eventually(lambda: judged().protected == count, PROTECTED_S)
    return process


def _has_reported(since: datetime) -> bool:
    """Judging 10,000 stops costs a second of a processor: not before a new process has said anything."""
    return Listener.objects.filter(
        state=Listener.State.CONNECTED, connected_at__gt=since, reported_at__gt=since, last_tick_at__gt=since
    ).exists()


def _armed(account: BrokerAccount, instruments: int, strategies: int) -> Sequence[Strategy]:
    contracts = listed(instruments)
    listed_rows = Instrument.objects.bulk_create(
        Instrument(
            broker="zerodha", exchange=one.exchange, tradingsymbol=one.tradingsymbol, token=one.token, name=one.name,
            instrument_type=one.instrument_type, expiry=one.expiry, strike=one.strike, lot_size=one.lot_size,
            tick_size=one.tick_size, freeze_quantity=one.freeze_quantity,
        )
        for one in contracts
    )  # fmt: skip
    numbers = range(strategies)
    return armed(account, (_strategy(account, listed_rows[n % instruments], f"s{n}") for n in numbers))


def _strategy(account: BrokerAccount, instrument: Instrument, name: str) -> Strategy:
    """Return a stop that no price comes near: of shares below, of all others (some cost a tick) above."""
    is_long = instrument.instrument_type == "EQ"
    return Strategy(
        user=account.user, account=account, instrument=instrument, name=name, contract=instrument.contract,
        status="active", position="BOUGHT" if is_long else "SOLD", product="MIS" if is_long else "NRML",
        quantity=instrument.lot_size, stop_loss=instrument.tick_size if is_long else FAR, epoch=1,
    )  # fmt: skip


def _sells(trader: Trader, rows: Sequence[Strategy]) -> None:
    """See that stops of the last process are really watched: those of one share are sold, each once."""
    first = rows[0]
    share = [row for row in rows if row.instrument_id == first.instrument_id]
    about = trader.control.instrument(first.symbol)
    last, tick = Decimal(about["last"]), Decimal(about["tick_size"])
    trader.hold(sum(row.quantity or 0 for row in share), first.symbol, first.product)
    raised = Strategy.objects.filter(pk__in=[row.pk for row in share])
    raised.update(stop_loss=part_of(last, STOP, tick), epoch=2)
    time.sleep(5)  # the listeners look at the database every two seconds
    trader.control.set_price(first.symbol, part_of(last, THROUGH, tick))
    eventually(lambda: Exit.objects.filter(state="done").count() == len(share), 30)
    if trader.held(first.symbol, first.product):
        raise AssertionError(f"{first.symbol} was not sold")
