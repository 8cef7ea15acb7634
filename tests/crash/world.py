"""What every cell stands on: the simulator, somewhere to tell alerts, databases to copy."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import environ
from django.conf import settings
from django.db import connections
from psycopg import sql

from project import database
from tests.crash.matrix import POSTGRES, SQLITE
from tests.environment import ROOT
from tests.support.postgres import PrivatePostgres, private_postgres
from tests.support.sink import sink

TEMPLATE = "crash_template"


@dataclass(frozen=True, slots=True)
class World:
    """Attributes: ``folder`` for everything, ``alerts_to`` an apprise target, ``server`` a PostgreSQL or None."""

    folder: Path
    alerts_to: str
    server: PrivatePostgres | None

    @contextmanager
    def database(self, kind: str, name: str) -> Iterator[None]:
        """Have Django use a migrated database of its own for the block."""
        url = self._copy(kind, name)
        use(url)
        try:
            yield
        finally:
            connections.close_all()
            self._drop(kind, name)

    def _copy(self, kind: str, name: str) -> str:
        if kind == SQLITE:
            shutil.copyfile(self._template, self.folder / f"{name}.sqlite3")
            return f"sqlite:///{self.folder / name}.sqlite3"
        assert self.server is not None
        with self.server.connect() as connection:
            order = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(order.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
        return self.server.url(name)

    def _drop(self, kind: str, name: str) -> None:
        if kind == SQLITE:
            for file in self.folder.glob(f"{name}.sqlite3*"):
                file.unlink()
            return
        assert self.server is not None
        with self.server.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @property
    def _template(self) -> Path:
        return self.folder / f"{TEMPLATE}.sqlite3"

    def migrate(self, kinds: Sequence[str]) -> None:
        """Make the databases that are copied."""
        for kind in kinds:
            url = f"sqlite:///{self._template}"
            if kind == POSTGRES:
                assert self.server is not None
                url = self.server.create(TEMPLATE)
            run = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
            subprocess.run(run, cwd=ROOT, env={**os.environ, "DATABASE_URL": url}, check=True)


def use(url: str) -> None:
    """Point Django's default connection, of this process and its future children, at ``url``."""
    connections.close_all()
    configured = connections.configure_settings(
        {"default": database.configured(environ.Env.db_url_config(url))}
    )
    connections.settings["default"] = settings.DATABASES["default"] = configured["default"]
    with suppress(AttributeError):  # this thread has none yet
        del connections["default"]


@contextmanager
def world(folder: Path, kinds: Sequence[str]) -> Iterator[World]:
    """Start what cells need besides the simulator; gone afterwards."""
    with ExitStack() as stack:
        server = stack.enter_context(private_postgres(durable=False)) if POSTGRES in kinds else None
        found = World(folder, stack.enter_context(_ears()), server)
        found.migrate(kinds)
        yield found


@contextmanager
def _ears() -> Iterator[str]:
    """Run the server that alerts are posted to, in a child: threads must not be forked."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with sink() as kept:
            os.write(writing, kept.url.encode())
            os.close(writing)
            signal.sigwait([signal.SIGTERM, signal.SIGINT])
        os._exit(0)
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            yield pipe.read()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
