"""How the living workers share the users: the decision, without a database or a clock.

Users are counted, not their stops: stops come and go all day, and every change would move somebody.
Nobody is moved but from a worker that has too many, to one that has too few; so with the same
workers and users sharing comes to an end, and nobody is moved back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


def targets(owned: Mapping[str, int]) -> dict[str, int]:
    """Return by worker how many of all the owned users it should have; those that have most keep the odd ones."""
    share, odd = divmod(sum(owned.values()), len(owned))
    ranked = sorted(owned, key=lambda worker: (-owned[worker], worker))
    return {worker: share + (rank < odd) for rank, worker in enumerate(ranked)}


def allot(free: Mapping[int, str], owned: Mapping[str, int]) -> dict[int, str]:
    """Return by user which worker should take them: always the one with the fewest.

    Args:
        free: By user that can be taken, who had them last: dead, or glad to be rid of them, so not asked.
        owned: By living worker, how many users it has; never empty.

    """
    counts, found = dict(owned), dict[int, str]()
    for user_id, last in sorted(free.items()):
        able = [worker for worker in counts if worker != last] or list(counts)
        chosen = min(able, key=lambda worker: (counts[worker], worker))
        counts[chosen] += 1
        found[user_id] = chosen
    return found


@dataclass(frozen=True, slots=True)
class Balance:
    """How one worker stands against the others.

    Attributes:
        workers: Those that live.
        surplus: How many users it should hand on; 0: none.
        since: When (the watcher's monotonic clock) it began to have too many among these workers.
        is_whole: Whether every user had a living owner; otherwise nobody knows yet who will have how many.

    """

    workers: frozenset[str]
    surplus: int
    since: float
    is_whole: bool = True

    def lasting(self, now: float, settle_s: float) -> int:
        """Return the surplus once it has lasted: a worker that restarts is back within seconds."""
        return self.surplus if self.is_whole and now - self.since >= settle_s else 0


def weigh(before: Balance | None, me: str, owned: Mapping[str, int], users: int, now: float) -> Balance:
    """Return how a worker stands after one more look.

    Args:
        before: How it stood.
        me: The worker.
        owned: By living worker, how many users it has; ``me`` is among them.
        users: How many there are, owned or not.
        now: The watcher's monotonic clock.

    """
    after = Balance(frozenset(owned), max(0, owned[me] - targets(owned)[me]), now)
    if sum(owned.values()) < users:
        return replace(before or after, is_whole=False)
    goes_on = before is not None and before.workers == after.workers and before.surplus and after.surplus
    return replace(after, since=before.since) if before is not None and goes_on else after
