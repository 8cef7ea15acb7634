"""The product's own processes: ``run_listeners`` fed as fast as it reads, Daphne with viewers, the reference path beside them.

The broker's requests are answered by the simulator; its feed is the benchmark's, for none other is fast enough.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from marketdata.domain.instruments import Contract
from strategies.models import Exit, Strategy
from tests.benchmarks.figures import Bound, Row, percentile, plain_row, ratio_row
from tests.benchmarks.frames import Universe
from tests.benchmarks.plan import Plan
from tests.benchmarks.whole import SQLITE, armed, judged, listed, part_of, whole_house
from tests.benchmarks.wire import OTHERS_CPU, OURS_CPU, Child, Side, feed, side
from tests.support.crowd import STOP
from tests.support.house import House
from tests.support.live import session_cookie
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.scraping import scrape
from tests.support.trader import Trader
from tests.support.waiting import eventually

INSTRUMENTS, LISTED = 3_000, 6_000
LOOKED_AT = 1.9
"""Times the instruments that are needed."""
DEAR = Decimal(20)
"""Rupees; of cheaper ones a price step is more than a price moves here."""
IN_PAISE = ("NSE", "BSE", "NFO", "BFO")
"""Exchanges whose prices Kite writes in paise."""
VIEWERS, HITS = 10, 5
FRAMES_A_SECOND, IN_A_FRAME, TICKING = 100, 100, 500


class Listeners:
    """The running ``run_listeners``, asked as a Prometheus asks it."""

    def __init__(self, process: Process, port: int) -> None:
        self._process = process
        self._address = f"http://127.0.0.1:{port}"

    def ask(self, command: str) -> dict[str, Any]:
        if command != "look":
            return {}  # it runs all the time
        told = scrape(self._address)
        return {
            "ticks": int(told("tickguard_ticks_total")),
            "errors": int(told("tickguard_tick_errors_total")),
            "cpu": told("process_cpu_seconds_total"),
            "at": time.perf_counter(),
            "triggered": list(Exit.objects.values_list("strategy__name", flat=True)),
        }


def measured(plan: Plan) -> Iterable[Row]:
    """Measure what the processes sustain, and how old a price is when a viewer has it."""
    count = 300 if plan.is_quick else INSTRUMENTS
    with ExitStack() as stack:
        house = stack.enter_context(whole_house(SQLITE, LISTED))
        path = Path(house.env["LOCK_DIR"]) / "universe.json"
        ours, audience = _started(stack, house, count, path)
        other = side(stack, "reference", "zerodha", path, count, count)
        for one in (ours, other):
            one.feed.ask(f"kite {count} {count} {path} 9")
        _check(ours, other)
        rounds = [[one.sustained(plan.on_the_wire_s) for one in (ours, other)] for _ in range(plan.rounds)]
        ours.feed.ask(f"kite {IN_A_FRAME} {min(count, TICKING)} {path} 10")
        ages = [_p99_ms(ours, audience, plan.on_the_wire_s) for _ in range(plan.rounds)]
    yield from _rows(rounds, ages, count)


def _check(ours: Side, other: Side) -> None:
    """Have both decide of one frame in which some instruments fall through their stops; they have to agree."""
    wanted = {str(number) for number in other.triggered(HITS, 77)}
    ours.triggered(HITS, 77)
    eventually(lambda: len(ours.path.ask("look")["triggered"]) >= HITS, 30)  # an exit is a row
    found = set(ours.path.ask("look")["triggered"])
    if len(found) != HITS or found != wanted:
        raise AssertionError(f"not the same decisions: {found} against {wanted}")
    if errors := ours.path.ask("look")["errors"]:
        raise AssertionError(f"{errors} errors in our path")


def _p99_ms(ours: Side, audience: Child, seconds: float) -> float:
    """Return how old prices are when viewers have them, at a steady rate."""
    ours.feed.ask(f"beat {FRAMES_A_SECOND} {FRAMES_A_SECOND // 2}")
    audience.ask("look")
    ours.feed.ask(f"beat {FRAMES_A_SECOND} {int(FRAMES_A_SECOND * seconds)}")
    ages = Counter(dict(audience.ask("look")["ages_ms"]))
    return percentile(list(ages.elements()), 0.99)


def _rows(
    rounds: Sequence[Sequence[Mapping[str, float]]], ages: Sequence[float], count: int
) -> Iterable[Row]:
    ours, other = ([one[number] for one in rounds] for number in (0, 1))
    what = f"run_listeners, Kite frames of {count:,}"
    note = (
        f"the processes as shipped: {count:,} strategies in SQLite, one on each instrument (full packets), Redis, "
        f"Daphne with {VIEWERS} viewers who are shown all of them"
    )
    bound = Bound(1_000, 10_000, is_most=False)
    yield ratio_row(
        "shipped", f"{what}, ÷ reference", "ticks/s", [one["rate"] for one in ours], [one["rate"] for one in other],
        bound, note, generator_cpu_share=[one["feed_cpu"] for one in ours],
    )  # fmt: skip
    yield ratio_row(
        "shipped", f"CPU of a tick, {what}: reference ÷ ours", "µs", [one["cpu"] for one in other],
        [one["cpu"] for one in ours], None, "all threads of the process, in the same rounds",
    )  # fmt: skip
    rate = FRAMES_A_SECOND * IN_A_FRAME
    yield plain_row(
        "shipped", "tick received → viewer's message, p99", "ms", ages, Bound(300, 220),
        f"{rate:,} ticks/s on {TICKING} instruments in frames of {IN_A_FRAME}, open loop, {VIEWERS} viewers, through all the processes",
    )  # fmt: skip


# --- what runs ----------------------------------------------------------------------------


def _started(stack: ExitStack, house: House, count: int, path: Path) -> tuple[Side, Child]:
    """Start everything: one account with a stop on each of so many instruments (written to ``path``), its owner's viewers."""
    trader = Trader.join("zerodha", house.simulator.control)
    universe = _universe(trader, count)
    universe.write(path)
    _arm(trader, universe)
    server, env = feed(stack)
    port = free_port()
    listeners = house.listeners("--worker", "benchmark", env={**env, "METRICS_PORT": str(port)})
    listeners.wait_for("are running", 60)
    server.ask(f"kite {count} {count} {path} 9")
    eventually(lambda: server.ask("send 0.2") and judged().protected == count, 60)
    address = house.web()
    for process in (house.simulator.process, *house.processes):
        _pin(process.pid, OURS_CPU if process is listeners else OTHERS_CPU)
    cookie = session_cookie(trader.account.user)
    audience = Child("audience", address.replace("http:", "ws:"), VIEWERS, cookie, env={}, cpu=OTHERS_CPU)
    stack.callback(audience.close)
    audience.ready()
    eventually(lambda: server.ask("beat 5 5") and audience.ask("look")["symbols"] == count, 60)
    return Side(server, Listeners(listeners, port)), audience


def _universe(trader: Trader, count: int) -> Universe:
    """Return instruments at the prices that the simulated broker quotes."""
    rows = list(islice(_rows_of(trader, listed(int(count * LOOKED_AT))), count))
    assert len(rows) == count, f"{len(rows)} instruments cost enough, {count} are needed"
    return Universe(*zip(*rows, strict=True))


def _rows_of(trader: Trader, contracts: Iterable[Contract]) -> Iterator[tuple[str, int, int, int]]:
    for one in contracts:
        last = Decimal(trader.control.instrument(one.symbol)["last"])
        if one.exchange in IN_PAISE and last >= DEAR:
            stop = part_of(last, STOP, one.tick_size)
            yield one.symbol, int(one.token), int(last * 100), int(stop * 100)


def _arm(trader: Trader, universe: Universe) -> None:
    account = trader.account
    instruments = trader.listed(*universe.symbols)
    armed(
        account,
        (
            Strategy(
                user=account.user, account=account, instrument=instrument, name=str(number), status="active",
                position="BOUGHT", product="NRML", quantity=instrument.lot_size, stop_loss=Decimal(stop) / 100,
                epoch=1, contract=instrument.contract,
            )
            for number, (instrument, stop) in enumerate(zip(instruments, universe.stops, strict=True))
        ),
    )  # fmt: skip


def _pin(pid: int, cpu: int) -> None:
    """Give all threads of a process one core, and the other to the rest."""
    if (os.cpu_count() or 1) > 1:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(int(thread.name), {cpu})
