"""Who runs a user's accounts: the decision, without a database, a lock or a clock.

A worker owns a user by three things at once: the kernel's lock on a file of that user, on
PostgreSQL a lock of its session, and a row with a number that rises with every change of
hands. The kernel says at once that a worker of the same lock directory is gone; the row says
so only after a while, and says who may still write. A worker that lives but has gone silent
may wake up in the middle of anything, so it is ended before anybody takes over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto


class NotOwner(Exception):
    """This worker does not own that user, or not any more: nothing was changed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things last, in seconds.

    Attributes:
        lease_s: A lease from its last renewal. Longer than any pause of a healthy worker.
        renew_s: Between two renewals: several may fail before anybody takes notice.
        look_s: Between two looks at who owns whom.
        gap_s: Between two looks that count as watching without a break.
        pause_s: A worker that stood still for so long owns nobody until it has looked again;
            less than ``lease_s``, so it knows before others may act on it.
        kill_wait_s: For a killed process to be gone.
        retry_kill_s: Before a process that could not be killed is killed again.
        grace_s: How long a free user is left to the worker who should take them, longer than ``renew_s``;
            then anybody does.
        settle_s: How long a worker has too many users before it hands some on; longer than a restart.

    """

    lease_s: float = 10.0
    renew_s: float = 2.0
    look_s: float = 0.5
    gap_s: float = 5.0
    pause_s: float = 8.0
    kill_wait_s: float = 2.0
    retry_kill_s: float = 10.0
    grace_s: float = 3.0
    settle_s: float = 10.0

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_s)


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease as it was read.

    Attributes:
        token: Rises with every take; never reused.
        worker: The holder's name, for people only: two may have the same.
        place: The lock directory under which it is held.
        expires_at: None: given back, or never held.
        read_at: The same clock (the database's) at the moment of reading.

    """

    token: int
    worker: str
    place: str
    expires_at: datetime | None
    read_at: datetime

    @property
    def is_over(self) -> bool:
        return self.expires_at is None or self.expires_at <= self.read_at


@dataclass(frozen=True, slots=True)
class Sighting:
    """How long a lease has been seen unchanged, by the watcher's own monotonic clock.

    Clocks that step, a database that stood still and a watcher that was paused must not make
    a healthy owner look silent: only an unbroken row of looks counts.
    """

    token: int
    expires_at: datetime | None
    first: float  # when the first look that saw it so had ended
    last: float  # when the latest had ended
    silent_s: float = 0.0


def watch(before: Sighting | None, lease: LeaseRecord, began: float, ended: float, gap_s: float) -> Sighting:
    """Return what is known after one more look, which lasted from ``began`` to ``ended``."""
    unchanged = before is not None and (before.token, before.expires_at) == (lease.token, lease.expires_at)
    if before is None or not unchanged or ended - before.last > gap_s:
        return Sighting(lease.token, lease.expires_at, ended, ended)
    return replace(before, last=ended, silent_s=max(0.0, began - before.first))


class Lock(Enum):
    """The kernel's lock of a user, as this worker finds it."""

    MINE = auto()
    LIVING = auto()
    """Another process of this machine has it, and is known: it can be ended."""
    OBSCURE = auto()
    """Another process has it that cannot be judged from here."""


class Step(Enum):
    """What to do about one user now."""

    RENEW = auto()
    TAKE = auto()
    WAIT = auto()
    KILL = auto()
    """End the holder's process, then look again."""
    ALARM = auto()
    """Nobody may take over, and nobody is at work: a person has to help."""
    LOSE = auto()
    """Stop all work for this user, then let go of the lock."""


def decide(
    mine: int | None, lease: LeaseRecord, silent_s: float, lock: Lock, *, place: str, lease_s: float
) -> Step:
    """Return the next step for one user.

    Args:
        mine: The token this worker took the user with; None when it does not own them.
        lease: The lease, just read.
        silent_s: How long it has been seen unchanged.
        lock: The kernel's lock.
        place: This worker's lock directory.
        lease_s: How long a lease lasts from its last renewal, in seconds.

    """
    if mine is not None:
        return Step.RENEW if mine == lease.token and lock is Lock.MINE else Step.LOSE
    is_silent = lease.is_over and silent_s >= lease_s
    if lock is Lock.MINE:
        # The kernel vouches for the holder's end only where the holder had the same lock.
        is_free = lease.expires_at is None or lease.place == place or is_silent
        return Step.TAKE if is_free else Step.WAIT
    if not is_silent:
        return Step.WAIT
    return Step.KILL if lock is Lock.LIVING else Step.ALARM
