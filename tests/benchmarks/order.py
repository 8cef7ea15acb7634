"""From a frame to the first byte of the exit order at the broker, by the product as it is shipped.

`run_listeners` is connected to the simulated broker by its own wire; prices fall through one stop
after the other, at their times whatever became of the ones before. The broker notes when each
request came and when its answer was ready.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from marketdata.simulator.control import SimulatorControl
from strategies.models import Exit, ExitOrder
from tests.benchmarks.disk import watched
from tests.benchmarks.figures import Bound, Row, percentile, plain_row, shown
from tests.benchmarks.plan import Plan
from tests.benchmarks.whole import (
    DATABASES,
    POSTGRES,
    SQLITE,
    judged,
    listed,
    part_of,
    whole_house,
)
from tests.support.crowd import STOP, THROUGH
from tests.support.house import House
from tests.support.trader import Trader
from tests.support.waiting import eventually

ACCOUNTS, EXITS = 8, 200
EVERY_S = 0.25
"""Between two falls: each account has one every two seconds, so none waits for the broker's rates."""
SETTLE_S = 3.0
"""After the start, that everything armed was asked for once."""
BOUNDS = {POSTGRES: Bound(10, 3), SQLITE: Bound(20, 6)}
STAGES = (
    "frame → decision", "→ intent written", "→ order planned and written", "→ plan durable, connected", "→ permit written",
    "→ permit durable, first byte",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Held:
    """A stop, and the price that falls through it."""

    symbol: str
    through: Decimal


@dataclass(frozen=True, slots=True)
class Way:
    """One exit's way, by the clock of this machine (UNIX seconds).

    Attributes:
        moments: When each stage of ``STAGES`` ended, the frame's receipt first.
        replies: When the broker had each request for the account, and when its answer was ready.

    """

    moments: Sequence[float]
    replies: Sequence[tuple[float, float]]

    @property
    def whole_ms(self) -> float:
        return (self.moments[-1] - self.moments[0]) * 1e3

    @property
    def ours_ms(self) -> float:
        return self.whole_ms - _covered_s(self.replies) * 1e3

    @property
    def stages_ms(self) -> list[float]:
        return [(after - before) * 1e3 for before, after in pairwise(self.moments)]


def _covered_s(spans: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one of ``spans`` lasted: requests may be answered side by side."""
    covered, end = 0.0, float("-inf")
    for at, until in sorted(spans):
        covered += max(until - max(at, end), 0.0)
        end = max(end, until)
    return covered


def measured(plan: Plan) -> Iterable[Row]:
    """Measure several hundred exits on each database."""
    for kind in DATABASES:
        with whole_house(kind) as house, watched(Path(house.env["LOCK_DIR"])) as disk:
            ways = _exits(house, 20 if plan.is_quick else EXITS)
        yield from _rows(kind, ways, disk)


def _rows(kind: str, ways: Sequence[Way], disk: Sequence[float]) -> Iterable[Row]:
    ours, whole = [way.ours_ms for way in ways], [way.whole_ms for way in ways]
    stages = {
        name: median(values)
        for name, values in zip(STAGES, zip(*(way.stages_ms for way in ways), strict=True), strict=True)
    }
    note = (
        f"{len(ways)} exits one at a time, every {EVERY_S * 1e3:.0f} ms, {ACCOUNTS} accounts; p50 {shown(median(ours))} ms; "
        f"with the broker's replies to reads: p50 {shown(median(whole))}, p99 {shown(percentile(whole, 0.99))} ms; medians: "
        + ", ".join(f"{name} {shown(value)}" for name, value in stages.items())
        + f"; the disk's own flush beside it: p50 {shown(median(disk))}, longest {shown(max(disk))} ms"
    )
    yield plain_row(
        "order", f"frame → first byte of the order, {kind}", "ms p99", [percentile(ours, 0.99)], BOUNDS[kind], note,
        stages=stages, each_ms={"less replies": ours, "whole": whole, "disk": list(disk)},
    )  # fmt: skip


def _exits(house: House, count: int) -> list[Way]:
    control = house.simulator.control
    traders = [Trader.join("zerodha", control) for _ in range(min(ACCOUNTS, count))]
    contracts = listed(count)
    held = [_arm(traders[number % len(traders)], one.symbol) for number, one in enumerate(contracts)]
    house.listeners("--worker", "benchmark").wait_for("are running", 60)
    eventually(lambda: judged().protected == count, 60)
    time.sleep(SETTLE_S)
    _fall(control, held)
    eventually(lambda: Exit.objects.filter(state="done").count() == count, 60)
    return _ways(control, traders)


def _arm(trader: Trader, symbol: str) -> Held:
    about = trader.control.instrument(symbol)
    last, tick, lot = Decimal(about["last"]), Decimal(about["tick_size"]), int(about["lot_size"])
    product = "MIS" if symbol.startswith(("NSE:", "BSE:")) else "NRML"
    trader.arm(symbol, quantity=lot, stop=str(part_of(last, STOP, tick)), product=product)
    return Held(symbol, part_of(last, THROUGH, tick))


def _fall(control: SimulatorControl, held: Sequence[Held]) -> None:
    began = time.monotonic()
    for number, one in enumerate(held):
        time.sleep(max(0.0, began + number * EVERY_S - time.monotonic()))
        control.set_price(one.symbol, one.through)


def _ways(control: SimulatorControl, traders: Sequence[Trader]) -> list[Way]:
    found = []
    for trader in traders:
        visits = control.visits(trader.client_id)
        booked = {row["tag"]: row["received_at"] for row in trader.sent()}
        rows = ExitOrder.objects.filter(account=trader.account).select_related("exit__strategy")
        found += [_way(row, visits, booked[row.tag]) for row in rows]
    if len(found) != Exit.objects.count():
        raise AssertionError(f"{len(found)} orders of {Exit.objects.count()} exits: each was to have one")
    return found


def _way(row: ExitOrder, visits: Sequence[Mapping[str, Any]], booked: float) -> Way:
    evidence = row.exit.evidence
    received = float(evidence["received_at"])
    first_byte = max(
        visit["at"] for visit in visits if visit["operation"] == "place" and visit["at"] <= booked
    )
    reads = [
        (visit["at"], visit["until"])
        for visit in visits
        if visit["operation"] != "place" and received <= visit["at"] and visit["until"] <= first_byte
    ]
    written = dict(row.exit.strategy.events.values_list("kind", "at"))
    if row.sent_at is None:
        raise AssertionError(f"order {row.tag} was not sent")
    moments = [
        received,
        float(evidence["decided_at"]),
        *(
            moment.timestamp()
            for moment in (
                written["sl_triggered"],
                written["order_planned"],
                row.sent_at,
                written["order_sending"],
            )
        ),
        first_byte,
    ]
    return Way(moments, reads)
