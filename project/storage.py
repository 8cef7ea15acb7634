"""Whether the database keeps what it has committed: without that no order may be sent for real money.

An exit's permit is committed before its one request leaves. Were that commit lost in a power cut, the
position could be sold again. See docs/storage.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution
from django.db import DatabaseError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from marketdata.brokers import registry
from project import disk

SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
"""What SQLite's numbers mean."""
DURABLE = frozenset({"FULL", "EXTRA"})
MENDED_BY_URL = "take it out of DATABASE_URL: left alone, Tickguard sets what is needed"


class Weight(Enum):
    """What a trouble keeps from running."""

    NOTHING = auto()
    REAL_ORDERS = auto()
    EVERYTHING = auto()


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong with where the data is kept.

    Attributes:
        id: Of the Django check.
        text: What is so, with the value.
        remedy: What to do.
        weight: What must not run while it is so.

    """

    id: str
    text: str
    remedy: str
    weight: Weight = Weight.REAL_ORDERS

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}."

    @property
    def is_refusal(self) -> bool:
        """Whether ``run_listeners`` must not start here and now."""
        return self.weight is Weight.EVERYTHING or (self.weight is Weight.REAL_ORDERS and is_live())


def is_live() -> bool:
    """Tell whether orders of this installation may cost real money."""
    return bool(settings.LIVE_TRADING and set(registry.BROKERS) - settings.SIMULATED_BROKERS)


def troubles(database: BaseDatabaseWrapper | None = None) -> list[Trouble]:
    """Ask ``database`` (default: ours), and look at the disk. Blocks; raises no database error."""
    database = database or connections["default"]
    try:
        found = list(_of_database(database))
    except DatabaseError as exc:
        reason = " ".join(str(exc).split())
        remedy = "see that it runs and that DATABASE_URL is right"
        text = f"The database cannot be used ({reason})"
        found = [Trouble("project.E002", text, remedy, Weight.EVERYTHING)]
    return found + list(_of_disk(database))


def durable_storage(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Report what ``troubles`` finds; what ``run_listeners`` refuses is an error."""
    return [_message(trouble) for trouble in troubles()]


def _message(trouble: Trouble) -> CheckMessage:
    kind = Error if trouble.is_refusal else Caution
    return kind(f"{trouble.text}.", hint=f"{trouble.remedy[0].upper()}{trouble.remedy[1:]}.", id=trouble.id)


# --- the database ---------------------------------------------------------------------------


def _of_database(database: BaseDatabaseWrapper) -> Iterator[Trouble]:
    if database.vendor == "sqlite":
        yield from _of_sqlite(database)
    else:
        yield from _of_postgres(database)


def _of_sqlite(database: BaseDatabaseWrapper) -> Iterator[Trouble]:
    synchronous = SYNCHRONOUS[int(_ask(database, "PRAGMA synchronous"))]
    if synchronous not in DURABLE:
        text = f"SQLite writes with synchronous={synchronous}, so a power cut can undo what was committed"
        yield Trouble("project.E003", f"{text} (needed: FULL)", MENDED_BY_URL)
    mode = _ask(database, "PRAGMA journal_mode")
    if mode != "wal":
        text = f"SQLite's journal_mode is {mode}, so a reader can hold up an exit (needed: wal)"
        yield Trouble("project.E004", text, MENDED_BY_URL)
    if not _takes_a_write(database):
        yield _read_only(str(database.settings_dict["NAME"]))


def _takes_a_write(database: BaseDatabaseWrapper) -> bool:
    """Write what is there already, and take it back."""
    version = int(_ask(database, "PRAGMA user_version"))
    with database.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")
        try:
            cursor.execute(f"PRAGMA user_version = {version}")
        except OperationalError as exc:
            if getattr(exc.__cause__, "sqlite_errorname", "").startswith("SQLITE_READONLY"):
                return False
            raise
        finally:
            cursor.execute("ROLLBACK")
    return True


def _of_postgres(database: BaseDatabaseWrapper) -> Iterator[Trouble]:
    lost = "so a crash can undo what was committed"
    if _ask(database, "SHOW synchronous_commit") == "off":
        text = f"PostgreSQL commits with synchronous_commit=off, {lost} (needed: on)"
        yield Trouble("project.E003", text, MENDED_BY_URL)
    for name in ("fsync", "full_page_writes"):
        if _ask(database, f"SHOW {name}") != "on":
            text = f"PostgreSQL runs with {name}=off, {lost} (needed: on)"
            yield Trouble("project.E004", text, f"set {name} = on in postgresql.conf and reload the server")
    if _ask(database, "SHOW transaction_read_only") == "on":
        yield _read_only(str(database.settings_dict["NAME"]))


def _read_only(name: str) -> Trouble:
    remedy = "make it writable for this user, or name another in DATABASE_URL"
    return Trouble("project.E005", f"The database {name} can only be read", remedy, Weight.EVERYTHING)


def _ask(database: BaseDatabaseWrapper, question: str) -> str:
    with database.cursor() as cursor:
        cursor.execute(question)
        [answer] = cursor.fetchone()
    return str(answer)


# --- the disk -------------------------------------------------------------------------------


def _of_disk(database: BaseDatabaseWrapper) -> Iterator[Trouble]:
    file = Path(database.settings_dict["NAME"]).resolve() if database.vendor == "sqlite" else None
    mount = disk.mount_of(file, disk.read_mounts()) if file else None
    if mount and (reason := disk.why_not_durable(mount)):
        yield Trouble("project.W006", f"{file} is {reason}", "keep it on a local disk", Weight.NOTHING)
    for folder in _written(file):
        left = disk.room(folder)
        if left.is_short:
            text = f"{folder} has {left.free / 1e9:.1f} GB of {left.size / 1e9:.0f} GB free"
            yield Trouble(
                "project.W007", text, "make room: on a full disk no exit can be sent", Weight.NOTHING
            )


def _written(file: Path | None) -> Iterable[Path]:
    """Return one folder of each disk that files of ours are written to."""
    folders = [settings.LOCK_DIR, *([file.parent] if file else [])]
    return {folder.stat().st_dev: folder for folder in folders if folder.is_dir()}.values()
