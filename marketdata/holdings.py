"""Whom this worker owns: one look after the other at leases and locks, and what follows from it.

All of it blocks and belongs to one thread, except what is marked as free to be asked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from django.db import DatabaseError, transaction

from marketdata import leases, roster
from marketdata.domain.clock import Clock
from marketdata.domain.leasing import LeaseRecord, Lock, Sighting, Step, Terms, decide, watch
from marketdata.domain.sharing import Balance, allot, weigh
from marketdata.processes import ProcessId, end
from marketdata.processlock import AlreadyRunning, ProcessLock, place
from marketdata.sessionlocks import SessionLocks

logger = logging.getLogger(__name__)


class Holdings:
    """The users of one worker. ``worker`` is its name, ``folder`` an existing lock directory."""

    def __init__(
        self, worker: str, folder: Path, sessions: SessionLocks, clock: Clock, terms: Terms | None = None
    ) -> None:
        self._worker = worker
        self._folder = folder
        self._place = place(folder)
        self._sessions = sessions
        self._clock = clock
        self._terms = terms or Terms()
        self._tokens: dict[int, int] = {}
        self._locks: dict[int, ProcessLock] = {}
        self._leaving: frozenset[int] = frozenset()
        self._sightings: dict[int, Sighting] = {}
        self._survivors: dict[ProcessId, float] = {}  # until when (monotonic) not to kill again
        self._holders: dict[int, tuple[ProcessId | None, float]] = {}  # who locks, and since when
        self._renewed = float("-inf")
        self._living = frozenset({worker})
        self._balance: Balance | None = None

    # --- from any thread ------------------------------------------------------------------

    @property
    def users(self) -> frozenset[int]:
        """Whom this worker owns."""
        return frozenset(self._tokens)

    @property
    def leaving(self) -> frozenset[int]:
        """Whom it has lost and still holds the lock of: give them up when all work for them has ended."""
        return self._leaving

    def token(self, user_id: int) -> int | None:
        """Return the number this worker owns a user with; None when it does not."""
        return self._tokens.get(user_id)

    @property
    def surplus(self) -> int:
        """How many users another worker should have instead of this one, and lastingly so."""
        if self._balance is None:
            return 0
        return self._balance.lasting(self._clock.monotonic(), self._terms.settle_s)

    # --- looking --------------------------------------------------------------------------

    def look(self, *, may_take: bool = True) -> dict[int, str]:
        """Renew what is owned, see what is lost, and take what nobody owns if ``may_take``.

        Returns:
            By user, why nobody is at work for them and nobody can take over.

        Raises:
            DatabaseError: What is owned stays so: without the database nobody else can take it.

        """
        self._sessions.keep()
        began = self._clock.monotonic()
        found = leases.read(leases.users_to_own(), self.users)
        ended = self._clock.monotonic()
        self._sightings = {
            user: watch(self._sightings.get(user), lease, began, ended, self._terms.gap_s)
            for user, lease in found.items()
        }
        self._lose({user for user in self.users if user not in found})
        self._renew(began)
        owned = self._count(found)
        self._balance = weigh(self._balance, self._worker, owned, len(found), ended)
        present = {user: lease for user, lease in found.items() if user not in self._leaving}
        if not may_take:
            present = {user: lease for user, lease in present.items() if user in self._tokens}
        return self._judge_all(present, owned)

    def give_up(self, users: Iterable[int]) -> None:
        """Let others have these users: no work for them is under way here any more."""
        for user_id in users:
            token, self._tokens = self._tokens.get(user_id), _without(self._tokens, {user_id})
            try:
                if token is not None:
                    leases.give_back(user_id, token)
                self._sessions.give_back(user_id)
            except DatabaseError as exc:
                logger.warning("the lease of user %s runs out by itself (%s)", user_id, exc)
            self._unlock(user_id)
            self._leaving -= {user_id}

    def close(self) -> None:
        """Give up everybody and end the session."""
        self.give_up(list(self._locks))
        self._leave()
        self._sessions.close()

    # --- one user -------------------------------------------------------------------------

    def _judge_all(self, found: Mapping[int, LeaseRecord], owned: Mapping[str, int]) -> dict[int, str]:
        troubles, free = dict[int, str](), dict[int, str]()
        for user_id, lease in found.items():
            step, trouble = self._judge(user_id, lease)
            if step is Step.TAKE:
                free[user_id] = self._last(lease)
            elif step is Step.LOSE:
                self._lose({user_id})
            if trouble:
                troubles[user_id] = trouble
        chosen = self._choose(free, owned)
        self._unlock_all(set(found) - chosen)  # at once: another one is to have some of them
        for user_id in chosen:
            if trouble := self._take(user_id, found[user_id]):
                troubles[user_id] = trouble
        self._unlock_all(set(found))
        return troubles

    def _judge(self, user_id: int, lease: LeaseRecord) -> tuple[Step, str]:
        """Return what to do about one user, and why nobody can do anything for them."""
        lock, holder = self._try_lock(user_id)
        step = self._decide(user_id, lease, lock)
        if step is Step.KILL and holder is not None and self._end(holder, lease):
            lock, holder = self._try_lock(user_id)
            step = self._decide(user_id, lease, lock)
        return step, _silent(lease, holder) if step in (Step.KILL, Step.ALARM) else ""

    def _decide(self, user_id: int, lease: LeaseRecord, lock: Lock) -> Step:
        mine, silent_s = self._tokens.get(user_id), self._sightings[user_id].silent_s
        if user_id in self._holders:  # whoever has only just locked is about to take
            silent_s = min(silent_s, self._clock.monotonic() - self._holders[user_id][1])
        return decide(mine, lease, silent_s, lock, place=self._place, lease_s=self._terms.lease_s)

    def _last(self, lease: LeaseRecord) -> str:
        """Return who should not have this user again; a process takes up what one of its name died with."""
        is_heir = lease.expires_at is not None and lease.worker == self._worker
        return "" if is_heir else lease.worker

    def _choose(self, free: Mapping[int, str], owned: Mapping[str, int]) -> set[int]:
        """Return the free users that are this worker's to take, and those that nobody else has taken in time."""
        allotted = allot(free, owned)
        grace_s = self._terms.grace_s
        return {
            user
            for user in free
            if allotted[user] == self._worker or self._sightings[user].silent_s >= grace_s
        }

    def _take(self, user_id: int, lease: LeaseRecord) -> str:
        if not self._sessions.take(user_id):
            is_silent = self._sightings[user_id].silent_s >= self._terms.lease_s
            return _silent(lease, None) if is_silent else ""
        token = leases.take(user_id, lease, self._worker, self._place, self._terms.lease)
        if token is None:
            self._sessions.give_back(user_id)
            return ""
        self._tokens = {**self._tokens, user_id: token}
        logger.info("user %s: taken over from %s", user_id, lease.worker or "nobody")
        return ""

    def _renew(self, now: float) -> None:
        if now - self._renewed >= self._terms.renew_s:
            with transaction.atomic():
                roster.beat(self._worker)
                leases.renew(self._tokens, self._terms.lease)
            self._renewed = now
            self._living = frozenset(seen.name for seen in roster.read() if seen.silent_s < self._terms.gap_s)

    def _count(self, found: Mapping[int, LeaseRecord]) -> dict[str, int]:
        """Return by living worker how many users it has."""
        owned = dict.fromkeys(self._living | {self._worker}, 0)
        for user_id, lease in found.items():
            holder = self._worker if user_id in self._tokens else lease.worker
            if holder in owned and lease.expires_at is not None:
                owned[holder] += 1
        return owned

    def _leave(self) -> None:
        try:
            roster.leave(self._worker)
        except DatabaseError as exc:
            logger.warning("worker %s is taken for dead from now on (%s)", self._worker, exc)

    def _lose(self, users: set[int]) -> None:
        """Own these no longer. Their locks stay: what was begun may still be under way."""
        if users:
            logger.warning("no longer the owner of %s", ", ".join(f"user {user}" for user in sorted(users)))
        self._tokens = _without(self._tokens, users)
        self._leaving |= users

    # --- locks and their holders ----------------------------------------------------------

    def _try_lock(self, user_id: int) -> tuple[Lock, ProcessId | None]:
        lock = self._locks.setdefault(user_id, ProcessLock(self._folder / f"user-{user_id}.lock"))
        if lock.is_held:
            return Lock.MINE, None
        try:
            lock.acquire()
        except AlreadyRunning as exc:
            self._see_holder(user_id, exc.holder)
            known = exc.holder is not None and exc.holder.is_running
            return Lock.LIVING if known else Lock.OBSCURE, exc.holder
        self._holders.pop(user_id, None)
        return Lock.MINE, None

    def _see_holder(self, user_id: int, holder: ProcessId | None) -> None:
        if user_id not in self._holders or self._holders[user_id][0] != holder:
            self._holders[user_id] = (holder, self._clock.monotonic())

    def _unlock_all(self, users: set[int]) -> None:
        """Let go of the locks of these users, but of those that are owned or may have work under way."""
        for user_id in users - self._tokens.keys() - self._leaving:
            self._unlock(user_id)

    def _unlock(self, user_id: int) -> None:
        if (lock := self._locks.pop(user_id, None)) is not None:
            lock.release()

    def _end(self, holder: ProcessId, lease: LeaseRecord) -> bool:
        now = self._clock.monotonic()
        if self._survivors.get(holder, now) > now:
            return False
        logger.critical("worker %s (process %s) is silent: ending it to take over", lease.worker, holder.pid)
        if end(holder, self._terms.kill_wait_s):
            return True
        self._survivors[holder] = now + self._terms.retry_kill_s
        return False


def _without(tokens: Mapping[int, int], users: set[int]) -> dict[int, int]:
    return {user: token for user, token in tokens.items() if user not in users}


def _silent(lease: LeaseRecord, holder: ProcessId | None) -> str:
    which = f"worker {lease.worker or 'that had them'}"
    if holder is not None:
        which += f" (process {holder.pid})"
    return (
        f"Your stops are not watched: {which} has gone silent, and could not be ended from here. "
        "End that process, or switch its machine off: another worker then takes over by itself."
    )
