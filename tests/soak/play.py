"""Plays one day against the real simulator and a real ``run_listeners``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from django.core.management import call_command
from django.db import connections

from marketdata.simulator.control import SimulatorControl
from strategies.models import Strategy
from tests.environment import ROOT
from tests.soak import report
from tests.soak.gauges import Gauges
from tests.soak.happenings import Happenings
from tests.soak.oracle import is_touched, violations
from tests.soak.portfolio import Held, accounts, fill
from tests.soak.report import Outcome
from tests.soak.schedule import Day, schedule
from tests.support.house import House, open_house
from tests.support.ports import free_ports
from tests.support.processes import Process
from tests.support.scraping import scrape
from tests.support.simulator import start_simulator
from tests.support.valkey import private_valkey
from tests.support.waiting import eventually

SAMPLE_S = 2.0
SAY_EVERY_S = 30.0
SETTLE_S = 120.0
LISTED = 4_000
LOG = ROOT / ".run/soak/listeners.log"


def play(day: Day, scratch: Path, database: Path) -> int:
    """Play it, judge it, print it; return how much was violated."""
    call_command("migrate", verbosity=0)
    with ExitStack() as stack:
        simulator = stack.enter_context(start_simulator(scratch, seed=day.seed, instruments=LISTED))
        valkey = stack.enter_context(private_valkey())
        house = stack.enter_context(open_house(simulator, valkey, scratch / "locks"))
        rows = accounts()
        for row in rows:
            house.import_instruments(row.broker)
        held = fill(rows, simulator.control, day)
        process, address = _listeners(house, day, [row.client_id for row in rows])
        happenings = Happenings(day, house, rows, held, database)
        gauges = _through_the_day(day, happenings, process)
        touched = _settle(happenings, held)
        told = scrape(address, {})
        wrong = [*violations(held, simulator.control), *gauges.troubles()]
        if process.stop(30) != 0:
            wrong.append("run_listeners did not end with 0")
        _keep(process.output)
        report.show(Outcome(day, happenings.counts, gauges, told, _waits(touched, house), wrong))
        connections.close_all()
    return len(wrong)


def _listeners(house: House, day: Day, clients: Sequence[str]) -> tuple[Process, str]:
    """Start them; return when every instrument is subscribed to."""
    [port] = free_ports(1)
    # As in production: with DEBUG each connection keeps its last 9,000 queries, which is memory that grows.
    process = house.listeners("--worker", "soak", env={"DEBUG": "0", "METRICS_PORT": str(port)})
    process.wait_for("metrics are at", 60)
    control = house.simulator.control
    wanted = 0.99 * day.instruments
    eventually(lambda: _carried(control, clients) >= wanted, 120)
    return process, f"http://127.0.0.1:{port}"


def _carried(control: SimulatorControl, clients: Sequence[str]) -> int:
    return sum(len(control.subscriptions(client)) for client in clients)


def _through_the_day(day: Day, happenings: Happenings, process: Process) -> Gauges:
    planned, gauges = schedule(day), Gauges(process.pid)
    began = time.monotonic()
    sampled = said = 0.0
    while (at_s := time.monotonic() - began) < day.seconds:
        while planned and planned[0].at_s <= at_s:
            happenings.happen(planned.pop(0))
        if at_s >= sampled:
            gauges.sample()
            gauges.answers_s.append(_answer_s(happenings.house.simulator.control))
            sampled = at_s + SAMPLE_S
        if at_s >= said:
            line = f"{day.clock(at_s)}: {gauges.memory[-1] / 2**20:.0f} MB, {gauges.files[-1]} descriptors"
            report.console.print(line)
            said = at_s + SAY_EVERY_S
        time.sleep(0.02)
    return gauges


def _answer_s(control: SimulatorControl) -> float:
    began = time.monotonic()
    control.state()
    return time.monotonic() - began


def _settle(happenings: Happenings, held: Sequence[Held]) -> list[Held]:
    """End all trouble and wait for the exits under way; return whose stop was touched."""
    control = happenings.house.simulator.control
    happenings.mend()
    control.pause()
    control.clear_faults()
    touched = [one for one in held if is_touched(one, control)]
    ids = [one.strategy.pk for one in touched]
    try:
        eventually(
            lambda: not Strategy.objects.filter(pk__in=ids).exclude(status="closed").exists(), SETTLE_S
        )
    except AssertionError:
        report.console.print("not every exit has ended")
    return touched


def _keep(log: str) -> None:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.write_text(log)
    report.console.print(f"what run_listeners said is in {LOG.relative_to(ROOT)}")


def _waits(touched: Sequence[Held], house: House) -> list[float]:
    """Return how long after its price was shown each stop's order was filled, in seconds."""
    control = house.simulator.control
    filled = {
        (order["account"], order["symbol"]): order["updated_at"]
        for order in control.ledger()
        if order["filled"]
    }
    waits = []
    for one in touched:
        at = filled.get((one.account.client_id, one.symbol))
        decided = one.strategy.exits.values_list("evidence__received_at", flat=True).first()
        if at is not None and decided is not None:
            waits.append(at - decided)
    return waits
