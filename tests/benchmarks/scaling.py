"""The part of scaling that is decided by rules and not by speed: who has which users, and when orders may leave.

The rules are the real ones (``marketdata.domain.sharing``, ``strategies.domain.budget``); only time is made up.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from marketdata.brokers import registry
from marketdata.domain.sharing import allot, targets
from strategies.domain.budget import Pace
from tests.benchmarks.figures import Row, plain_row
from tests.benchmarks.plan import Plan

USERS, WORKERS = 10_000, 20
STRATEGIES_EACH = 100
"""Ten thousand users with a hundred strategies: a million."""
STEP_S = 0.001


def shared(users: int, workers: int) -> dict[int, str]:
    """Return by user its worker, after workers that start empty have taken everybody."""
    owned = {f"w{number}": 0 for number in range(workers)}
    return allot(dict.fromkeys(range(users), ""), owned)


def after_a_death(owners: dict[int, str], dead: str) -> dict[int, str]:
    """Return the owners once the living have taken what a dead worker had."""
    owned = Counter(owners.values())
    del owned[dead]
    free = {user: dead for user, worker in owners.items() if worker == dead}
    return {**owners, **allot(free, owned)}


def seconds_to_send(broker: str, exits: int) -> float:
    """Return when the last of so many exits of one account, triggered together, may send its first order."""
    pace, now = Pace(registry.adapter(broker).order_limits), 0.0
    for number in range(exits):
        now += pace.wait_s(now)
        pace.count(now)
        if number < exits - 1:
            now += STEP_S
    return now


def judged(plan: Plan) -> Iterable[Row]:
    """Share a million strategies, lose workers one after the other, and trigger every stop of an account."""
    owners, rng = shared(USERS, WORKERS), random.Random(1)
    moved: list[int] = []
    for _ in range(WORKERS // 2):
        living = sorted(set(owners.values()))
        followers = after_a_death(owners, rng.choice(living))
        moved.append(sum(followers[user] != worker for user, worker in owners.items()))
        owners = followers
        counts = Counter(owners.values())
        if max(counts.values()) - min(counts.values()) > 1 or len(owners) != USERS:
            raise AssertionError(f"users are not shared evenly: {counts}")
        if sum(targets(counts).values()) != USERS:
            raise AssertionError("a user has no worker")
    note = f"{USERS:,} users, {USERS * STRATEGIES_EACH:,} strategies; {WORKERS} workers, half of which die in turn"
    yield plain_row("scaling", "users that change hands when a worker dies", "users", moved, None, note)
    most = max(Counter(owners.values()).values()) * STRATEGIES_EACH
    yield plain_row("scaling", "strategies of the fullest worker, at the end", "", [most], None, note)
    for broker in ("zerodha", "dhan"):
        for exits in (10, 100, 1_000):
            what = f"{broker}: the last of {exits:,} exits of one account may leave after"
            yield plain_row(
                "scaling", what, "s", [seconds_to_send(broker, exits)], None, "the broker's own limits"
            )
