"""What a supervisor wants to know of a process here: whether starting it again would help.

So a feed that a broker refuses, or a login that is over, is no fault of a process: that is for
``/health/websocket`` and the alerts.
"""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection

from marketdata.evidence import is_reported
from marketdata.models import BrokerAccount, Listener
from marketdata.processes import ProcessId
from marketdata.redis_client import ERRORS
from project.status import sync_client

WAIT_S = 2.0
"""Within this, whoever is well has answered."""

_LOCKS = ("listeners.lock", "worker-{}.lock")
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # it is ours: through no proxy


def web_troubles(url: str) -> Iterator[str]:
    """Say why the web process at ``url`` is not well. Blocks for ``WAIT_S`` at most."""
    try:
        with _open(_request(f"{url}/healthz"), timeout=WAIT_S):
            return
    except HTTPError as exc:
        exc.close()
        yield f"The web process at {url} answers {exc.code} to /healthz: see its log."
    except (URLError, HTTPException, OSError) as exc:
        reason = str(getattr(exc, "reason", exc)) or type(exc).__name__
        yield f"No web process answers at {url} ({reason}): start it, or give its address with --url."


def listener_troubles(now: datetime, worker: str | None = None) -> Iterator[str]:
    """Say why ``run_listeners`` is not well: all of them, or the one called ``worker``. Blocks."""
    name = "run_listeners" if worker is None else f"run_listeners --worker {worker}"
    if sys.platform == "linux" and not _is_running(settings.LOCK_DIR, worker):
        yield f"No {name} runs on this machine (by its lock in LOCK_DIR={settings.LOCK_DIR}): start it."
        return
    problem = within(WAIT_S, lambda: list(_unreported(now, worker)))
    yield from [problem] if isinstance(problem, str) else problem


def database_trouble() -> Iterator[str]:
    """Say why the database cannot be used. Blocks for ``WAIT_S`` at most."""
    problem = within(WAIT_S, _ask_database)
    yield from [problem] if isinstance(problem, str) else problem


def cautions() -> Iterator[str]:
    """Say what is degraded without being a reason to start anything again."""
    if settings.REDIS_URL:
        try:
            with sync_client() as client:
                client.ping()
        except ERRORS as exc:
            yield f"Redis does not answer ({exc}): stops go on; pages and last prices are degraded."


def within(seconds: float, ask: Callable[[], list[str]]) -> list[str] | str:
    """Return what ``ask`` returns, or one line about a database that fails or does not answer in time."""
    found: list[list[str] | str] = []

    def run() -> None:
        try:
            found.append(ask())
        except DatabaseError as exc:
            found.append(f"The database cannot be used ({' '.join(str(exc).split())}): see DATABASE_URL.")
        finally:
            connection.close()

    thread = Thread(target=run, daemon=True)  # one that hangs ends with the process
    thread.start()
    thread.join(seconds)
    return found[0] if found else f"The database gives no answer within {seconds:.0f} s: see that it runs."


# --- inside -----------------------------------------------------------------------------


def _request(url: str) -> urllib.request.Request:
    """Ask under a name that the web process serves: it refuses others, loopback among them."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise URLError(f"{url} is no http address")
    served = [host for host in settings.ALLOWED_HOSTS if host[:1] not in ("", ".", "*")]
    return urllib.request.Request(url, headers={"Host": served[0]} if served else {})  # noqa: S310 - checked


def _is_running(folder: Path, worker: str | None) -> bool:
    names = [name.format(worker or "*") for name in _LOCKS]
    files = [file for name in names for file in folder.glob(name)]
    holders = [ProcessId.parse(_text(file)) for file in files]
    return any(holder is not None and holder.is_running for holder in holders)


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _unreported(now: datetime, worker: str | None) -> Iterator[str]:
    """Every running account has a row that is written every other second, whatever its feed does."""
    accounts = BrokerAccount.objects.filter(desired_state=BrokerAccount.DesiredState.RUNNING)
    if worker is not None:
        accounts = accounts.filter(listener__worker=worker)
    for account in accounts.select_related("listener").without_secrets().order_by("pk"):
        row: Listener | None = getattr(account, "listener", None)
        if not is_reported(row, now):
            yield f"The listener of {account.broker}:{account.pk} has not reported {_since(row, now)}."


def _since(row: Listener | None, now: datetime) -> str:
    if row is None or row.reported_at is None:
        return "yet"
    return f"for {(now - row.reported_at).total_seconds():.0f} s"


def _ask_database() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return []
