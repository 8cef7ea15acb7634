"""A private PostgreSQL that a test may kill, freeze and bring back on the same port."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.support.ports import free_port
from tests.support.waiting import eventually

NOT_HERE = "needs PostgreSQL: apt-get install postgresql"
HOST = "127.0.0.1"
ROLE = "tickguard"
SERVICE_USERS = ("postgres", "nobody")
"""Whom the server runs as where the tests run as root: it refuses root."""

QUIET = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "logging_collector": "off",
    "log_min_messages": "warning",
}


def _programs() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres``: on Debian they are not in ``PATH``."""
    found = shutil.which("initdb")
    beside = [Path(found).resolve().parent] if found else []
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    whole = (folder for folder in [*beside, *packaged] if (folder / "postgres").is_file())
    return next(whole, None)


def _version(folder: Path) -> float:
    name = folder.parent.name
    return float(name) if name.replace(".", "", 1).isdigit() else 0.0


PROGRAMS = _programs()
_SESSIONS: LiteralString = "SELECT pid FROM pg_stat_activity WHERE "
needs_postgres = pytest.mark.skipif(PROGRAMS is None, reason=NOT_HERE)


class PrivatePostgres:
    """A cluster of its own on a free loopback port; its URLs stay the same over restarts.

    Args:
        durable: ``fsync`` is on, as in production. Off makes a run faster; what a killed
            server had committed is there again all the same, only a power cut could lose it.
        settings: Further server settings, by name.

    """

    def __init__(self, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> None:
        if PROGRAMS is None:
            raise RuntimeError(NOT_HERE)
        self._programs = PROGRAMS
        self._user = _service_user()
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="tickguard-postgres-"))
        self._settings = {**QUIET, "fsync": "on" if durable else "off", **(settings or {})}
        self._server: subprocess.Popen[bytes] | None = None
        self._initialise()
        self.start()

    # --- where it is --------------------------------------------------------------------

    def url(self, database: str = "postgres") -> str:
        """Return what ``DATABASE_URL`` is to be for ``database``."""
        return f"postgres://{ROLE}@{HOST}:{self.port}/{database}"

    def create(self, database: str = "") -> str:
        """Make an empty database, with a name of its own unless given; return its URL."""
        database = database or f"test_{uuid.uuid4().hex[:12]}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url(database)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Return a connection in autocommit; the caller closes it (``with``)."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    @property
    def log(self) -> str:
        """What the server said so far, over all its starts."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the running server (its postmaster)."""
        assert self._server is not None, "not started"
        return self._server.pid

    # --- what a test does to it ---------------------------------------------------------

    def start(self) -> None:
        """Start it, or bring it back with what it had committed; returns when it answers."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self._settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                **self._identity(),
            )  # fmt: skip
        eventually(self._answers, 30)

    def stop(self) -> None:
        """End it in order: connections are cut, what they had not committed is rolled back."""
        if self._server is not None:
            self.thaw()
            self._server.send_signal(signal.SIGINT)
            self._server.wait(30)
            self._server = None

    def kill(self) -> None:
        """End every process of it at once (SIGKILL), wherever it was; :meth:`start` recovers it."""
        if self._server is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGSTOP)  # it must not start another while they are counted
        family = [self.pid, *_children(self.pid)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.wait(10)
        self._server = None
        eventually(lambda: not any(map(_runs, family)), 10)

    def freeze(self) -> None:
        """Stop it answering, new connections and old: they stay open (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)
        for pid in _children(self.pid):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after :meth:`freeze`."""
        if self._server is None:
            return
        for pid in (*_children(self.pid), self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def cut(self, database: str) -> int:
        """End every session on ``database``, as an administrator may; return how many there were."""
        with self.connect() as connection:
            found = connection.execute(_SESSIONS + "datname = %s", [database]).fetchall()
            pids = [pid for (pid,) in found]
            connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [pids])
            # It only sends them a signal.
            eventually(lambda: not connection.execute(_SESSIONS + "pid = ANY(%s)", [pids]).fetchall(), 20)
        return len(pids)

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- inside -------------------------------------------------------------------------

    def _initialise(self) -> None:
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        subprocess.run(
            [
                self._programs / "initdb", "-D", self.folder / "data", "-U", ROLE, "--auth=trust",
                "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions",
            ],
            check=True, capture_output=True, cwd=self.folder, **self._identity(),
        )  # fmt: skip

    def _identity(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _answers(self) -> bool:
        assert self._server is not None
        if self._server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended with {self._server.returncode}:\n{self.log}")
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


def _service_user() -> pwd.struct_passwd | None:
    """Return whom to run the server as; None: whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    for name in SERVICE_USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError(f"PostgreSQL refuses {getpass.getuser()}: make a user named {SERVICE_USERS[0]}")


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _runs(pid: int) -> bool:
    """Tell whether ``pid`` is a process that can still do something: a zombie cannot."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def private_postgres(
    *, durable: bool = True, settings: Mapping[str, str] | None = None
) -> Iterator[PrivatePostgres]:
    """Run a cluster for as long as the block lasts. Raises ``RuntimeError`` where there is none."""
    server = PrivatePostgres(durable=durable, settings=settings)
    try:
        yield server
    finally:
        server.close()
