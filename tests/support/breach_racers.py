"""Many processes after the same breaches: ``python -m tests.support.breach_racers LEVEL PROCESSES``.

Every process has a journal of its own, no lease and no lock, and acts on the same moment. LEVEL is
``intent``, ``plan`` or ``permit``; each process does it for every armed strategy, one after the other.
Prints, by strategy, how many of the processes won.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from multiprocessing.context import ForkContext, ForkProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

import django
from django.db import DatabaseError, connections

django.setup()

from marketdata.clock import SystemClock  # noqa: E402 - models need Django set up
from marketdata.domain.orders import PositionSnapshot  # noqa: E402
from marketdata.domain.prices import to_units  # noqa: E402
from strategies import records  # noqa: E402
from strategies.domain.breaches import Intent  # noqa: E402
from strategies.domain.events import Circumstances, Opened, Seen  # noqa: E402
from strategies.domain.exits import OrderState  # noqa: E402
from strategies.domain.record import Moment, State  # noqa: E402
from strategies.domain.steps import step  # noqa: E402
from strategies.journal import Journal, Overtaken  # noqa: E402
from strategies.models import Exit, Strategy  # noqa: E402
from tests.support.exits import Told  # noqa: E402

Deed = Callable[[], bool]
HELD = 1_000_000


def moment() -> Moment:
    clock = SystemClock()
    return Moment(clock.time(), clock.monotonic(), records.trading_day(clock.time()))


def journal() -> Journal:
    return Journal(Told(), SystemClock(), random.Random(), lambda _: None)


def breached(strategy: Strategy, own: Journal) -> Deed:
    """Have the intent committed."""
    intent = Intent(
        strategy.pk,
        strategy.epoch,
        strategy.user_id,
        strategy.symbol,
        "stop_loss",
        to_units(Decimal(1500)),
        1,
        {},
    )
    return lambda: own.open_exits([intent])[0] is not None


def planned(strategy: Strategy, own: Journal) -> Deed:
    """Have the first order planned, by what the account shows."""
    task, at = records.load(Exit.objects.get(strategy=strategy).pk), moment()
    record = task.record
    around = Circumstances(new_tag=own.new_tag())
    position = PositionSnapshot(record.symbol, record.product, HELD)
    seen = Seen(at, at.elapsed, at.time, book=(), positions=(position,), around=around)
    after, commands = step(State(record), seen)
    return lambda: own.commit(task, after.record, seen, commands) is not None


def permitted(strategy: Strategy, own: Journal) -> Deed:
    """Have the one request of the planned order permitted."""
    task = records.load(Exit.objects.get(strategy=strategy).pk)
    [order] = task.record.orders
    opened = Opened(moment(), order.tag)
    fresh = task.record.with_order(replace(order, planned_at=opened.at.time))  # planned before the race began
    after, commands = step(State(fresh), opened)
    assert after.record.orders[0].state is OrderState.SENDING
    return lambda: own.commit(task, after.record, opened, commands) is not None


LEVELS = {"intent": breached, "plan": planned, "permit": permitted}


def prepare(level: str) -> None:
    """Bring every strategy to where the race begins."""
    own = journal()
    if level in ("plan", "permit"):
        for strategy in Strategy.objects.select_related("instrument"):
            assert breached(strategy, own)()
    if level == "permit":
        for strategy in Strategy.objects.select_related("instrument"):
            assert planned(strategy, own)()


def race(level: str, ids: list[int], line: Barrier, won: SimpleQueue[list[bool]]) -> None:
    own = journal()
    strategies = {row.pk: row for row in Strategy.objects.select_related("instrument")}
    results = []
    for pk in ids:
        deed = LEVELS[level](strategies[pk], own)  # as it stands before anybody acts
        line.wait(60)
        results.append(_done(deed))
        line.wait(60)
    won.put(results)


def _done(deed: Deed) -> bool:
    while True:
        try:
            return deed()
        except Overtaken:
            return False
        except DatabaseError:  # "locked" is no answer
            continue


def main(level: str, processes: int) -> None:
    prepare(level)
    ids = list(Strategy.objects.order_by("id").values_list("id", flat=True))
    connections.close_all()  # none may be shared by two processes
    context: ForkContext = multiprocessing.get_context("fork")
    line, won = context.Barrier(processes), context.SimpleQueue()
    racers: list[ForkProcess] = [
        context.Process(target=race, args=(level, ids, line, won)) for _ in range(processes)
    ]
    for racer in racers:
        racer.start()
    results = [won.get() for _ in racers]
    for racer in racers:
        racer.join()
    print(json.dumps([sum(wins) for wins in zip(*results, strict=True)]))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
