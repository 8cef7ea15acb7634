"""Rows that need no other process: what a frame costs between its bytes and the decision."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import cycle

import numpy as np

from marketdata.board import Board
from marketdata.brokers.zerodha.columns import KiteColumns
from marketdata.brokers.zerodha.decode import decode
from marketdata.clock import SystemClock
from marketdata.domain.sessions import Calendar
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.intake import Intake
from marketdata.processor import TickProcessor
from marketdata.quiet import QuietFeed
from marketdata.subscribed import Subscribed
from marketdata.wanted import FeedTokens
from strategies.domain.breaches import Breach
from strategies.domain.rules import FixedStop
from strategies.domain.stops import Stop
from strategies.monitor import StopLossMonitor
from tests.benchmarks import frames
from tests.benchmarks.figures import Bound, Row, plain_row, ratio_row
from tests.benchmarks.plan import Plan

USER, ACCOUNT = 1, 1
FRAMES = 16
_BARE = np.dtype(
    {
        "names": ["length", "token", "price", "time"],
        "formats": [">u2", ">u4", ">u4", ">u4"],
        "offsets": [0, 2, 6, 62],
        "itemsize": 2 + frames.FULL,
    }
)


class Inside:
    """One connection's way from frame to decision, as ``run_listeners`` has it, without the socket."""

    def __init__(self, universe: frames.Universe, armed: int, connections: int = 1) -> None:
        """Arm ``armed`` stops on the instruments, evenly; so many connections carry them, one after the other."""
        self.breaches: list[Breach] = []
        clock = SystemClock()
        self.monitor = StopLossMonitor(self.breaches.extend, clock, later=lambda _, __: None)
        self.processor = TickProcessor(monitor=self.monitor, calendar=Calendar(always=True), clock=clock)
        for stop in stops(universe, armed):
            self.monitor.arm(stop)
        self._connections = [self._connected(part) for part in parts(universe, connections)]

    def _connected(self, universe: frames.Universe) -> tuple[Intake, Subscribed]:
        named = dict(zip(universe.symbols, map(str, universe.tokens), strict=True))
        subscribed = Subscribed(FeedTokens(named, {}), int, None)
        subscribed.want(universe.symbols, FeedMode.FULL)
        subscribed.begin()
        feed = QuietFeed(self.processor, USER, ACCOUNT, lambda _: None, lambda _: None)
        intake = Intake(KiteColumns(), feed, subscribed)
        intake._show_soon = lambda: None  # type: ignore[method-assign]  # no loop runs here
        feed.attach(intake.board)
        return intake, subscribed

    @property
    def board(self) -> Board:
        return self._connections[0][0].board

    def take(self, frame: bytes, connection: int = 0) -> None:
        """Do what the listener does with a frame."""
        at = time.time()
        intake, subscribed = self._connections[connection]
        if not intake.take(frame, at, partial(self._tell, subscribed, at)):
            self._tell(subscribed, at, frame)

    def _tell(self, subscribed: Subscribed, at: float, frame: bytes) -> None:
        ticks = decode(frame, received_at=at, symbols=subscribed.symbols).ticks
        self.processor.accept(USER, subscribed.mark_first(ticks), ACCOUNT)

    def warm(self, some: Iterable[bytes], connection: int = 0) -> None:
        """Take each instrument's first packets, which are judged one by one."""
        for frame in some:
            self.take(frame, connection)


def parts(universe: frames.Universe, count: int) -> list[frames.Universe]:
    """Return the instruments of each of so many connections."""
    size = len(universe.symbols) // count
    return [universe.part(at, at + size) for at in range(0, size * count, size)]


def stops(universe: frames.Universe, armed: int) -> Iterable[Stop]:
    """Yield stops spread evenly over the instruments, none within reach of a price."""
    count = len(universe.symbols)
    for number in range(armed):
        rule = FixedStop(frames.stop_units(number // count), is_long=True)
        yield Stop(number, 1, USER, universe.symbols[number % count], rule, 10)


def bare(frame: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decode a frame as fast as is known: a view, a check of lengths, three columns in native order."""
    rows = np.frombuffer(frame, _BARE, offset=2)
    if not (rows["length"] == frames.FULL).all():
        raise ValueError("mixed lengths")
    return rows["token"].astype(np.uint32), rows["price"].astype(np.uint32), rows["time"].astype(np.uint32)


def ns_per_packet(
    work: Callable[[bytes], object], some: Sequence[bytes], packets: int, seconds: float
) -> float:
    """Return CPU nanoseconds a packet, over the frames again and again for so long."""
    done, began, ends = 0, time.process_time(), time.perf_counter() + seconds
    while True:
        for frame in some:
            work(frame)
        done += len(some)
        if time.perf_counter() >= ends:
            return (time.process_time() - began) / (done * packets) * 1e9


def made(universe: frames.Universe, size: int, count: int = FRAMES, seed: int = 2) -> list[bytes]:
    now = int(time.time()) + frames.AHEAD_S
    return list(frames.kite_frames(random.Random(seed), universe, len(universe.tokens), size, count, now))


def path_to_bare(plan: Plan) -> Iterable[Row]:
    """Whole frame path against the fastest bare decode of the same frames."""
    universe = frames.Universe.of(3_000)
    house = Inside(universe, plan.stops)
    house.warm(made(universe, 3_000, 2))
    ours, fastest = [], []
    for round_ in range(plan.rounds):
        some = made(universe, 3_000, seed=round_ + 3)
        ours.append(ns_per_packet(house.take, some, 3_000, plan.seconds))
        fastest.append(ns_per_packet(bare, some, 3_000, plan.seconds))
    note = f"3,000 full packets a frame, {plan.stops:,} stops armed; CPU time; the reference path decodes with the SDK"
    yield ratio_row("decode", "frame path ÷ bare decode", "ns/tick", ours, fastest, Bound(25, 5), note)


def armed(plan: Plan) -> Iterable[Row]:
    """Cost of a tick with a million stops against none."""
    universe = frames.Universe.of(3_000)
    many = 100_000 if plan.is_quick else 1_000_000
    empty, full = Inside(universe, 0), Inside(universe, many)
    gc.collect()
    gc.freeze()  # as run_listeners does once everything is armed
    yield _compared(
        plan,
        "armed",
        f"cost of a tick, {many:,} stops armed ÷ none",
        full,
        empty,
        universe,
        Bound(1.25, 1.05),
    )
    gc.unfreeze()


def instruments(plan: Plan) -> Iterable[Row]:
    """Cost of a tick with 9,000 instruments against 3,000."""
    few, many = frames.Universe.of(3_000), frames.Universe.of(9_000, seed=5)
    one, other = Inside(few, plan.stops), Inside(many, plan.stops, connections=3)
    each = parts(many, 3)
    one.warm(made(few, 3_000, 2))
    for number, part in enumerate(each):
        other.warm(made(part, 3_000, 2), number)
    found = []
    for round_ in range(plan.rounds):
        frames_of_many = [made(part, 3_000, seed=round_) for part in each]
        numbered = [
            (frame, number) for some in zip(*frames_of_many, strict=True) for number, frame in enumerate(some)
        ]
        frames_of_few = [(frame, 0) for frame in made(few, 3_000, seed=round_)] * 3
        found.append(alternately(other, numbered, one, frames_of_few, plan.seconds))
    note = "frames of 3,000 full packets, three connections of 3,000 as Kite's are; CPU time, frame by frame in turn"
    what = "cost of a tick, 9,000 instruments ÷ 3,000"
    ours, compared = zip(*found, strict=True)
    yield ratio_row("instruments", what, "ns/tick", ours, compared, Bound(1.5, 1.1), note)


def alternately(
    house: Inside,
    some: Sequence[tuple[bytes, int]],
    other: Inside,
    others: Sequence[tuple[bytes, int]],
    seconds: float,
) -> tuple[float, float]:
    """Return CPU nanoseconds of a tick for each of two houses that take frames of 3,000 in turn."""
    ours = theirs = frames_taken = 0
    ends = time.perf_counter() + 2 * seconds
    while time.perf_counter() < ends:
        for frame, its in zip(some, others, strict=True):
            began = time.process_time_ns()
            house.take(*frame)
            between = time.process_time_ns()
            other.take(*its)
            ours, theirs = ours + between - began, theirs + time.process_time_ns() - between
        frames_taken += len(some)
    return ours / frames_taken / 3_000, theirs / frames_taken / 3_000


def _compared(
    plan: Plan, name: str, what: str, house: Inside, other: Inside, universe: frames.Universe, bound: Bound
) -> Row:
    for one in (house, other):
        one.warm(made(universe, 3_000, 2))
    found = []
    for round_ in range(plan.rounds):
        some = [(frame, 0) for frame in made(universe, 3_000, seed=round_)]
        found.append(alternately(house, some, other, some, plan.seconds))
    ours, compared = zip(*found, strict=True)
    note = "frames of 3,000 full packets, CPU time, frame by frame in turn"
    return ratio_row(name, what, "ns/tick", ours, compared, bound, note)


def memory(plan: Plan) -> Iterable[Row]:
    """Memory of an armed stop, everything the process keeps of it included."""
    universe = frames.Universe.of(3_000)
    count = plan.stops
    monitor = StopLossMonitor(lambda _: None, SystemClock(), later=lambda _, __: None)
    for stop in stops(universe, 3_000):  # what an instrument costs is not counted
        monitor.arm(stop)
    gc.collect()
    tracemalloc.start()
    for stop in stops(universe, count):
        monitor.arm(stop)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    note = f"{count:,} stops on 3,000 instruments, with rule, quantity, owner and book; by tracemalloc"
    yield plain_row("memory", "memory of an armed stop", "B", [size / (count - 3_000)], Bound(300, 100), note)


def growth(plan: Plan) -> Iterable[Row]:
    """How costs grow with what is armed, and with instruments."""
    yield from _ticks_growth(plan)
    for what, work in (("arm and disarm one", _arm_one), ("trigger 1,000 at once, each", _trigger)):
        for before in (1_000, 10_000, 100_000):
            figures = [work(before) for _ in range(plan.rounds)]
            note = f"{before:,} stops armed on the same instrument"
            yield plain_row(
                "growth", f"{what}, {before:,} armed", "µs", figures, None, note,
                curve=what, against="stops armed on the instrument", x=before,
            )  # fmt: skip


def _ticks_growth(plan: Plan) -> Iterable[Row]:
    """Cost of a tick by armed stops, and by instruments; each connection carries 3,000 at most."""
    sizes = [(3_000, count) for count in (3_000, 30_000, 300_000)]
    sizes += [(count, plan.stops) for count in (1_000, 3_000, 9_000)]
    for number, (instruments_, armed_) in enumerate(sizes):
        by_armed = number < 3
        figures = _ns_of_a_tick(plan, instruments_, armed_)
        what = f"cost of a tick, {instruments_:,} instruments, {armed_:,} stops"
        yield plain_row(
            "growth", what, "ns", figures, None, "frames of a connection's instruments, full packets, CPU time",
            curve="cost of a tick", against="stops armed on 3,000 instruments" if by_armed else "instruments",
            x=armed_ if by_armed else instruments_,
        )  # fmt: skip


def _ns_of_a_tick(plan: Plan, count: int, armed_: int) -> list[float]:
    universe, connections = frames.Universe.of(count), -(-count // 3_000)
    house, size = Inside(universe, armed_, connections), count // connections
    each = parts(universe, connections)
    for number, part in enumerate(each):
        house.warm(made(part, size, 2), number)
    turn = cycle(range(connections))
    figures = []
    for round_ in range(plan.rounds):
        some = [
            frame
            for frames_ in zip(*(made(part, size, seed=round_) for part in each), strict=True)
            for frame in frames_
        ]
        figures.append(ns_per_packet(lambda frame: house.take(frame, next(turn)), some, size, plan.seconds))
    return figures


def _one_instrument(armed: int) -> tuple[StopLossMonitor, list[Breach]]:
    found: list[Breach] = []
    monitor = StopLossMonitor(found.extend, SystemClock(), later=lambda _, __: None)
    for number in range(armed):
        rule = FixedStop(frames.stop_units(number), is_long=True)
        monitor.arm(Stop(number, 1, USER, "NSE:ONE", rule, 10))
    return monitor, found


def _arm_one(armed: int) -> float:
    monitor, _ = _one_instrument(armed)
    began, times = time.process_time(), 2_000
    for number in range(times):
        rule = FixedStop(frames.stop_units(number * 37 % armed), is_long=True)
        monitor.arm(Stop(armed + number, 1, USER, "NSE:ONE", rule, 10))
        monitor.disarm(armed + number)
    return (time.process_time() - began) / times * 1e6


def _trigger(armed: int) -> float:
    monitor, found = _one_instrument(armed)
    count = min(armed, 1_000)
    price = frames.stop_units(count - 1)
    began = time.process_time()
    monitor.on_ticks(USER, [Tick("NSE:ONE", price, time.time(), int(time.time()))], ACCOUNT)
    took = time.process_time() - began
    if len(found) != count:
        raise AssertionError(f"{len(found)} of {count} stops were triggered")
    return took / count * 1e6
