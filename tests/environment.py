"""The environment of every test, set before Django reads its settings.

Nothing of the developer's own environment or ``.env`` reaches a test: each variable the
settings read is given here, and brokers are reached at a loopback port where nothing listens.

``TEST_DATABASE=postgres`` runs the tests that use the database on a private PostgreSQL instead
of a SQLite file; see ``tests.support.databases``.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

from marketdata.brokers import registry
from tests.support import databases

ROOT = Path(__file__).resolve().parent.parent
MEMORY = Path("/dev/shm")


def _scratch() -> Path:
    """Return a folder for the database: in memory where there is room, so that no commit waits for a disk."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * 1024**3
    return Path(tempfile.mkdtemp(prefix="tickguard-tests-", dir=MEMORY if has_room else None))


SCRATCH = _scratch()
_NOWHERE = "127.0.0.1:9"  # the discard port: refused at once


def _endpoints() -> dict[str, str]:
    found = [endpoint for broker in registry.BROKERS for endpoint in registry.endpoints(broker).values()]
    return {endpoint.variable: f"{endpoint.schemes[-1]}://{_NOWHERE}" for endpoint in found}


VARIABLES = {
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "DEBUG": "1",
    "SECRET_KEY": "tests-only-" + "x" * 50,
    "CREDENTIAL_KEYS": "dGVzdHMtb25seS1ub3QtYS1zZWNyZXQtMDAwMDAwMDA=",
    "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1],testserver",
    "DATABASE_URL": databases.prepare(SCRATCH),
    "REDIS_URL": "",
    "LOCK_DIR": str(SCRATCH / "locks"),
    "MARKET_HOURS": "always",
    "LTP_TTL_S": "30",
    "METRICS_PORT": "",
    "ALERT_URLS": "",
    "DEADMAN_URL": "",
    "HEALTH_TOKEN": "tests-health-token",
    "LIVE_TRADING": "0",
    "SIMULATOR_CONTROL": f"http://{_NOWHERE}",
    "DEMO": "",
    "DEMO_PASSWORD": "",
    "EMBEDDED_REDIS": "",
    **_endpoints(),
}
os.environ.update(VARIABLES)


def _clean(owner: int) -> None:
    if os.getpid() == owner:  # not in a child that was forked
        shutil.rmtree(SCRATCH, ignore_errors=True)


atexit.register(_clean, os.getpid())
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
