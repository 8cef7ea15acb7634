"""One session: one integer, one run."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from strategies.models import Exit, Strategy
from tests.simulation import environment
from tests.simulation.ledger import VIEWS
from tests.simulation.ports import dispose
from tests.simulation.script import Script
from tests.simulation.world import World

MODES = ("safety", "liveness")
FAULTS_UNTIL_S = {"safety": 40.0, "liveness": 30.0}
ENDS_AT_S = {"safety": 44.0, "liveness": 91.5}
FILLS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Result:
    """How one session went."""

    seed: int
    mode: str
    digest: str
    violations: tuple[str, ...]
    faults: int
    counted: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    lines: tuple[str, ...] = ()


def run(seed: int, mode: str, template: bytes, *, keep_log: bool = False) -> Result:
    """Run the session of a seed from its beginning to its verdict."""
    environment.renew(template)
    world = World(seed, mode, keep_log=keep_log)
    try:
        world.loop.run_until_complete(_play(world, mode))
        _judge(world, mode)
    finally:
        world.is_over = True
        dispose(world.processes)
        world.loop.close()
    log, oracle = world.log, world.oracle
    return Result(
        seed, mode, log.digest, tuple(oracle.violations), log.faults.total(), oracle.counted, log.faults,
        tuple(log.lines),
    )  # fmt: skip


async def _play(world: World, mode: str) -> None:
    world.loop.at(0.0, world.ensure_one)
    world.loop.at(0.1, world.tick)
    script = Script(world, FAULTS_UNTIL_S[mode])
    if mode == "safety":
        await asyncio.sleep(ENDS_AT_S[mode])
        return
    await asyncio.sleep(FAULTS_UNTIL_S[mode])
    world.loop.outside(lambda: heal(world, script))
    while world.loop.time() < ENDS_AT_S[mode]:
        await asyncio.sleep(5.0)
        if world.loop.outside(lambda: _is_quiet(world)):
            await asyncio.sleep(8.0)  # what ended last is looked at once more
            break


def heal(world: World, script: Script) -> None:
    """From now on nothing goes wrong any more."""
    world.log.write("all is well from now on")
    world.database.__init__()  # type: ignore[misc]  # as it was at the beginning
    world.market.is_open = True
    world.market.unlock()
    for account_id, broker in world.brokers.items():
        broker.state.is_sound, broker.state.is_refusing, broker.state.failing_reads = True, False, ""
        broker.ledger.thaw(VIEWS)
        for order in broker.ledger.orders.values():
            order.hidden_until = order.hidden_fills_until = 0.0
        script.log_in(account_id)
    for life in list(world.lives):
        life.trap.units = life.trap.writes = -1
        life.process.go_on(world.loop)
    for life in list(world.lives)[1:]:
        world.kill(life, "for there is one")
    world.after(1.0, world.ensure_one)
    _fill(world)


def _fill(world: World) -> None:
    for broker in world.brokers.values():
        broker.fill_what_rests()
    if not world.is_over:
        world.after(FILLS_EVERY_S, lambda: _fill(world))


def _is_quiet(world: World) -> bool:
    """Tell whether every exit has ended and no stop waits that was touched."""
    if Exit.objects.exclude(state__in=("done", "aborted")).exists():
        return False
    return not Strategy.objects.filter(status=Strategy.Status.ACTIVE, pk__in=_breached(world)).exists()


def _breached(world: World) -> list[int]:
    """Return the strategies whose stop the price has passed for good."""
    rows = Strategy.objects.select_related("instrument").exclude(position="NONE").order_by("pk")
    return [row.pk for row in rows if _is_past(world, row)]


def _is_past(world: World, row: Strategy) -> bool:
    price, stop = world.market.instruments[row.symbol].price, int((row.stop_loss or 0) * 10_000_000)
    return price <= stop if row.position == "BOUGHT" else price >= stop


def _judge(world: World, mode: str) -> None:
    is_live = mode == "liveness"
    world.oracle.finish(is_live=is_live, breached=_breached(world) if is_live else ())
