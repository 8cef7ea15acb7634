"""What it costs to receive a message: our connection, and a plain ``websockets`` client, in turn from the same server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from tests.benchmarks.figures import Bound, Row, ratio_row
from tests.benchmarks.generator import DHAN_PACKETS, KITE_FRAMES
from tests.benchmarks.plan import Plan
from tests.benchmarks.wire import ANSWER_S, OTHERS_CPU, OURS_CPU, Child
from tests.support.ports import free_port

SIDES = ("ours", "plain")


def received(plan: Plan) -> Iterable[Row]:
    """One packet a message, and 3,000 a message."""
    yield from _compared(
        plan, "Dhan, one packet (162 B) a message", "dhan 3000 9", DHAN_PACKETS, times=10, bound=Bound(1, 10, is_most=False)
    )  # fmt: skip
    yield from _compared(
        plan, "Kite, 3,000 full packets (558 kB) a message", "kite 3000 3000 3000 9", KITE_FRAMES, times=40, bound=Bound(1, is_most=False)
    )  # fmt: skip


def _compared(plan: Plan, what: str, made: str, each: int, *, times: int, bound: Bound) -> Iterator[Row]:
    times = 1 if plan.is_quick else times
    with ExitStack() as stack:
        port = free_port()
        feed = Child("generator", port, env={}, cpu=OTHERS_CPU)
        stack.callback(feed.close)
        feed.ready()
        feed.ask(made)
        sides = [_started(stack, side, f"ws://127.0.0.1:{port}") for side in SIDES]
        rounds = [[_taken(feed, side, times, each) for side in sides] for _ in range(plan.rounds)]
    if len({size for both in rounds for _, size in both}) != 1:
        raise AssertionError("not the same bytes were received")
    ours, plain = ([both[number][0] for both in rounds] for number in (0, 1))
    note = f"{times * each:,} messages to each, each looked at once; ÷ a plain client of websockets"
    yield ratio_row("transport", f"received, {what}", "messages/CPU-s", ours, plain, bound, note)


def _started(stack: ExitStack, side: str, url: str) -> Child:
    child = Child("receiver", side, url, env={"DEBUG": "0"}, cpu=OURS_CPU)
    stack.callback(child.close)
    child.ready()
    return child


def _taken(feed: Child, side: Child, times: int, each: int) -> tuple[float, int]:
    """Have one side receive all that was made so many times; return messages a CPU second, and bytes."""
    first, ends = side.ask("start"), time.monotonic() + ANSWER_S
    feed.tell(f"repeat {times}")
    while (found := side.ask("look"))["messages"] < times * each:
        if time.monotonic() > ends:
            raise AssertionError(f"{found['messages']} of {times * each} messages were received in time")
        time.sleep(0.05)
    feed.answer()
    side.ask("stop")
    if found["messages"] != times * each:
        raise AssertionError(f"{found['messages']} messages were received, {times * each} were sent")
    return found["messages"] / (found["cpu"] - first["cpu"]), found["bytes"]
