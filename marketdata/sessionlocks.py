"""A lock for each user that lasts as long as a session of the database: PostgreSQL's advisory locks.

It reaches where the kernel's lock does not: to workers of other hosts. A worker that is stopped
keeps its session, so nobody takes over from it by the clock alone; one whose host is gone loses
it within seconds, by the server's own probes. It needs a connection of its own to the server:
a pooler that shares sessions between transactions would leave it with nobody in particular.
"""

from __future__ import annotations

from typing import Protocol

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

_BASE = 0x5469636B << 32
"""Where the numbers of our locks begin, away from another program's."""

_PROBES = ("tcp_keepalives_idle = 5", "tcp_keepalives_interval = 2", "tcp_keepalives_count = 3")


class SessionLocks(Protocol):
    """Locks by user. Not thread-safe."""

    def take(self, user_id: int) -> bool:
        """Lock, if nobody else has it. Raises ``DatabaseError``."""
        ...

    def give_back(self, user_id: int) -> None: ...

    def keep(self) -> None:
        """See that the session lives; otherwise begin another and lock again what was locked."""
        ...

    def close(self) -> None: ...


class AdvisoryLocks:
    """Implements ``SessionLocks`` on PostgreSQL. The connection is made at the first use."""

    def __init__(self) -> None:
        self._connection: BaseDatabaseWrapper | None = None
        self._users: set[int] = set()

    def take(self, user_id: int) -> bool:
        if user_id in self._users:  # a second time would have to be given back twice
            return True
        is_mine = self._ask("SELECT pg_try_advisory_lock(%s)", user_id)
        if is_mine:
            self._users.add(user_id)
        return is_mine

    def give_back(self, user_id: int) -> None:
        if user_id in self._users:
            self._users.discard(user_id)
            self._ask("SELECT pg_advisory_unlock(%s)", user_id)

    def keep(self) -> None:
        if self._users:
            self._run("SELECT true", ())

    def close(self) -> None:
        self._users.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- inside ---------------------------------------------------------------------------

    def _ask(self, sql: str, user_id: int) -> bool:
        return self._run(sql, (_BASE + user_id,))

    def _run(self, sql: str, parameters: tuple[int, ...]) -> bool:
        session = self._connection or self._connect()
        try:
            with session.cursor() as cursor:
                cursor.execute(sql, parameters)
                [answer] = cursor.fetchone() or (False,)
        except DatabaseError:
            session.close()
            self._connection = None
            raise
        return bool(answer)

    def _connect(self) -> BaseDatabaseWrapper:
        session = connections.create_connection(DEFAULT_DB_ALIAS)
        with session.cursor() as cursor:
            for setting in _PROBES:
                cursor.execute(f"SET {setting}")
            for user_id in self._users:  # of a session that broke; whoever has one now keeps it
                cursor.execute("SELECT pg_try_advisory_lock(%s)", (_BASE + user_id,))
        self._connection = session
        return session


class NoSessionLocks:
    """For SQLite, where every worker shares one host: the kernel's locks are enough."""

    def take(self, user_id: int) -> bool:
        return True

    def give_back(self, user_id: int) -> None:
        """Do nothing."""

    def keep(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def session_locks() -> SessionLocks:
    """Return what the configured database has."""
    return AdvisoryLocks() if connection.vendor == "postgresql" else NoSessionLocks()
