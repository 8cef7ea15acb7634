"""How the database is reached: what Django's ``DATABASES`` says beside the URL."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured

SQLITE = {
    # A read that later writes must take the lock first, or it fails at once under load.
    "transaction_mode": "IMMEDIATE",
    "timeout": 10,
    # FULL: an intent that was committed is still there after a power cut.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}

POSTGRES = {
    "connect_timeout": 3,  # seconds, per address
    # A peer that is gone without a word is noticed within about ten seconds.
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "tickguard",
    "prepare_threshold": 3,  # what is asked again and again is planned once
}
SESSION = {
    # A commit that was answered is on the disk, whatever the server's own default is.
    "synchronous_commit": "on",
    # Transactions here take milliseconds: what waits longer fails, is told and tried again.
    "lock_timeout": "2s",
    "statement_timeout": "15s",
    # A process that was stopped in the middle must not keep its locks for ever.
    "idle_in_transaction_session_timeout": "15s",
}


def configured(config: dict[str, Any]) -> dict[str, Any]:
    """Return a database's settings, made of its URL, with what the exits rely on.

    What the URL itself says goes first: ``?connect_timeout=10``, ``?options=-c statement_timeout=0``.

    Raises:
        ImproperlyConfigured: The URL is of neither SQLite nor PostgreSQL.

    """
    engine = config["ENGINE"].rpartition(".")[2]
    if engine == "sqlite3":
        return {**config, "OPTIONS": {**SQLITE, **config.get("OPTIONS", {})}}
    if engine == "postgresql":
        return {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True, **config, "OPTIONS": _postgres(config)}
    raise ImproperlyConfigured(
        f"DATABASE_URL: {engine or 'it'} is not supported: "
        "expected sqlite:///path/of/the/file or postgres://user:password@host:port/name"
    )


def _postgres(config: dict[str, Any]) -> dict[str, Any]:
    given = config.get("OPTIONS", {})
    session = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    return {**POSTGRES, **given, "options": f"{session} {given.get('options', '')}".rstrip()}
