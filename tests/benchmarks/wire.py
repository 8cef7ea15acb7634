"""Rows over real sockets: a feed's server, the listener's parts, and the reference path beside them, round by round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tests.benchmarks.figures import Bound, Row, percentile, plain_row, ratio_row
from tests.benchmarks.plan import Plan
from tests.environment import ROOT
from tests.support.ports import free_port
from tests.support.valkey import private_valkey

OURS_CPU, OTHERS_CPU = 0, 1
ANSWER_S = 120.0
SETTLE_S = 30.0


class Child:
    """A process that is told something in a line and answers in a line of JSON."""

    def __init__(self, module: str, *arguments: object, env: Mapping[str, str], cpu: int) -> None:
        self._name = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        if (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(self._process.pid, {cpu})

    def ready(self) -> None:
        """Wait until it is."""
        if (line := self._line()) != "ready":
            raise RuntimeError(f"{self._name} said {line!r} instead of ready")

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")

    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._line())
        return found

    def ask(self, command: str) -> dict[str, Any]:
        self.tell(command)
        return self.answer()

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with {self._process.poll()}")
        return line.strip()


class TickPath(Protocol):
    """What takes the ticks: asked to ``start``, to ``stop``, and for a ``look`` at what it has done."""

    def ask(self, command: str, /) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Side:
    """One path with a feed's server of its own."""

    feed: Child
    path: TickPath

    def triggered(self, hits: int, seed: int) -> list[int]:
        """Send one frame in which instruments fall through all their stops; return which were triggered."""
        self.path.ask("start")
        before = self.path.ask("look")["ticks"]
        packets, ends = self.feed.ask(f"check {hits} {seed}")["packets"], time.monotonic() + ANSWER_S
        while (found := self.path.ask("look"))["ticks"] < before + packets:
            if time.monotonic() > ends:
                raise AssertionError(f"{found['ticks'] - before} of {packets} packets were decided in time")
            time.sleep(0.1)
        self.path.ask("stop")
        return list(found["triggered"])

    def sustained(self, seconds: float) -> dict[str, float]:
        """Send as fast as it is read; return ticks a second and CPU microseconds a tick."""
        self.path.ask("start")
        self.feed.tell(f"send {seconds * 1.4}")
        first = self._moving()
        time.sleep(seconds)
        last = self.path.ask("look")
        sent = self.feed.answer()
        self.path.ask("stop")
        ticks, took = last["ticks"] - first["ticks"], last["at"] - first["at"]
        cpu = (last["cpu"] - first["cpu"]) / max(ticks, 1) * 1e6
        return {"rate": ticks / took, "cpu": cpu, "feed_cpu": sent["cpu_s"] / (seconds * 1.4)}

    def _moving(self) -> dict[str, Any]:
        """Wait for the first ticks of this round."""
        before = self.path.ask("look")["ticks"]
        while (found := self.path.ask("look"))["ticks"] == before:
            time.sleep(0.01)
        return found


def feed(stack: ExitStack) -> tuple[Child, dict[str, str]]:
    """Start a feed's server; return it, and the variables that send a path to it."""
    port = free_port()
    root = f"ws://127.0.0.1:{port}"
    env = {"KITE_FEED_ROOT": root, "DHAN_FEED_ROOT": root, "DEBUG": "0"}
    server = Child("generator", port, env=env, cpu=OTHERS_CPU)
    stack.callback(server.close)
    server.ready()
    return server, env


def side(stack: ExitStack, module: str, broker: str, instruments: object, armed: int, stops: int) -> Side:
    """Start a path with a feed and a Redis of its own; ``instruments``: see ``frames.Universe.named``."""
    server, env = feed(stack)
    env |= {"REDIS_URL": stack.enter_context(private_valkey()).url}
    path = Child(module, broker, instruments, armed, stops, env=env, cpu=OURS_CPU)
    stack.callback(path.close)
    path.ready()
    return Side(server, path)


@contextmanager
def sides(broker: str, instruments: int, armed: int, stops: int) -> Iterator[tuple[Side, Side]]:
    """Start both paths, each with its own Redis."""
    with ExitStack() as stack:
        started = [side(stack, module, broker, instruments, armed, stops) for module in ("ours", "reference")]
        yield started[0], started[1]


def _compared(
    plan: Plan, name: str, what: str, made: str, broker: str, armed: int, bound: Bound | None, note: str
) -> Iterator[Row]:
    with sides(broker, 3_000, armed, plan.stops) as both:
        for one in both:
            one.feed.ask(made)
        found = [one.triggered(5, 77) for one in both]
        if not found[0] or found[0] != found[1]:
            raise AssertionError(
                f"not the same decisions: {len(found[0])} stops triggered against {len(found[1])}"
            )
        rounds = [[one.sustained(plan.on_the_wire_s) for one in both] for _ in range(plan.rounds)]
        errors = both[0].path.ask("look")["errors"]
    ours, other = [[one[number] for one in rounds] for number in (0, 1)]
    if errors:
        raise AssertionError(f"{errors} errors in our path")
    more: dict[str, Any] = {
        "generator_cpu_share": [one["feed_cpu"] for one in ours],
        "checked_triggers": len(found[0]),
    }
    fast, slow = [one["rate"] for one in ours], [one["rate"] for one in other]
    yield ratio_row(name, f"{what}, ÷ reference", "ticks/s", fast, slow, bound, note, **more)
    dear, cheap = [one["cpu"] for one in other], [one["cpu"] for one in ours]
    yield ratio_row(
        name, f"CPU of a tick, {what}: reference ÷ ours", "µs", dear, cheap, None, "in the same rounds"
    )


def kite_large(plan: Plan) -> Iterable[Row]:
    """Kite, frames of 3,000."""
    note = f"all 3,000 instruments armed, {plan.stops:,} stops; full packets (184 B) to both; LTP cache, pages, publications on"
    bound = Bound(1_000, 10_000, is_most=False)
    yield from _compared(
        plan, "kite-3000", "Kite frames of 3,000", "kite 3000 3000 3000 9",
        "zerodha", 3_000, bound, note,
    )  # fmt: skip


def kite_small(plan: Plan) -> Iterable[Row]:
    """Kite, frames of 100."""
    note = f"as above, each frame 100 of the 3,000 instruments; {plan.stops:,} stops"
    bound = Bound(500, 1_000, is_most=False)
    yield from _compared(
        plan, "kite-100", "Kite frames of 100", "kite 100 3000 3000 9",
        "zerodha", 3_000, bound, note,
    )  # fmt: skip


def kite_mixed(plan: Plan) -> Iterable[Row]:
    """Kite, frames of 3,000 of which a tenth is armed."""
    note = f"300 instruments armed (full packets, 184 B), 2,700 watched (LTP, 8 B); {plan.stops:,} stops"
    yield from _compared(
        plan, "kite-mixed", "Kite frames of 3,000, a tenth of them armed", "kite 3000 300 3000 9",
        "zerodha", 300, None, note,
    )  # fmt: skip


def dhan(plan: Plan) -> Iterable[Row]:
    """Dhan, one packet a message."""
    note = f"3,000 instruments armed, {plan.stops:,} stops; full packets (162 B), one a WebSocket message"
    bound = Bound(100, 500, is_most=False)
    yield from _compared(
        plan, "dhan", "Dhan, one packet a message", "dhan 3000 9", "dhan", 3_000, bound, note
    )  # fmt: skip


def _all_hits(side: Side, count: int) -> list[Any]:
    """Return what was triggered, once it is as many as there should be."""
    hits: list[Any] = []
    ends = time.monotonic() + SETTLE_S
    while len(hits) < count:
        if time.monotonic() > ends:
            raise AssertionError(f"{len(hits)} triggers instead of {count}")
        time.sleep(0.2)
        hits += side.path.ask("look")["hits"]
    return hits


def decision(plan: Plan) -> Iterable[Row]:
    """Frame received to decision, and from its intended moment, open loop at 10,000 ticks a second."""
    count = 1_000 if plan.is_quick else 10_000
    instruments = 1_000
    per_instrument = -(-count // instruments)
    received, intended = [], []
    with ExitStack() as stack:
        ours = side(stack, "ours", "zerodha", instruments, instruments, instruments * per_instrument)
        ours.feed.ask(f"kite 100 {instruments} {instruments} 4")
        ours.path.ask("start")
        ours.sustained(0.5)
        ours.path.ask("look")
        ours.feed.tell(f"pace 100 {count}")
        dues = []
        while "done" not in (line := ours.feed.answer()):
            dues.append(line)
        hits = _all_hits(ours, count)
    for due, (symbol, at, decided) in zip(dues, hits, strict=True):
        if due["symbol"] != symbol:
            raise AssertionError(f"{symbol} was triggered instead of {due['symbol']}")
        received.append((decided - at) * 1e3)
        intended.append((decided - due["at"]) * 1e3)
    note = f"{count:,} triggers, one a frame of 100 full packets, 100 frames a second; {line['late']} frames sent over 1 ms late"
    yield plain_row(
        "decision", "frame received → decision, p99", "ms", [percentile(received, 0.99)], Bound(0.5, 0.15), note,
        p50=percentile(received, 0.5), p999=percentile(received, 0.999),
    )  # fmt: skip
    yield plain_row(
        "decision", "intended send → decision, p99", "ms", [percentile(intended, 0.99)], None, note,
        p50=percentile(intended, 0.5),
    )  # fmt: skip
