"""What `make run` runs."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from project.demo import dotenv, ports, supervisor

ROOT = Path(__file__).resolve().parent.parent.parent
WEB_PORT = 8000


class Refused(Exception):
    """It cannot start like this; the text says what to do."""


def main() -> int:
    """Prepare, migrate, run; return the exit code: 0 stopped by a person, 1 a process ended, 2 refused."""
    try:
        with only_one(ROOT / ".run"):
            prepared = dotenv.prepare(ROOT / ".env", os.environ)
            web_port = ports.choose(wanted_port())
            variables = {
                **prepared.variables,
                "PYTHONUNBUFFERED": "1",
                "DJANGO_SETTINGS_MODULE": "project.settings",
            }
            migrate(variables)
            return supervisor.run(supervisor.commands(web_port, prepared.redis_port), variables)
    except (dotenv.RealBrokers, Refused, OSError) as exc:
        print(f"make run: {exc}", file=sys.stderr)
        return 2


def wanted_port() -> int:
    """Return where the page should be served; raises ``Refused`` for a ``PORT`` that is none."""
    text = os.environ.get("PORT") or str(WEB_PORT)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Refused(f"PORT={text!r} is not a port: use a number from 1024 to 65535.")
    return int(text)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold this folder's lock.

    Raises:
        Refused: Held by another.

    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "demo.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Refused("already running in this folder: stop it with Ctrl-C there first.") from exc
        yield


def migrate(variables: Mapping[str, str]) -> None:
    """Bring the database up to date.

    Raises:
        RealBrokers: It holds an account that may trade for real: the simulator must not act for it.

    """
    os.environ.update(variables)
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    refuse_live_accounts()
    call_command("migrate", verbosity=0)
    hold_accounts()
    connection.close()  # the processes are forked from here


def hold_accounts() -> None:
    """Keep the demo's accounts stopped until the new simulator holds their positions again."""
    from marketdata.brokers import registry
    from marketdata.models import BrokerAccount

    ids = [registry.surface(broker).DEMO["client_id"] for broker in registry.BROKERS]
    simulated = BrokerAccount.objects.filter(client_id__in=ids)
    simulated.update(desired_state=BrokerAccount.DesiredState.STOPPED)


def refuse_live_accounts() -> None:
    from django.db import connection

    from marketdata.models import BrokerAccount

    if BrokerAccount._meta.db_table not in connection.introspection.table_names():
        return
    account = BrokerAccount.objects.filter(live=True).first()
    if account:
        raise dotenv.RealBrokers(
            f"the database holds the live account {account}: its exits would go to the simulator. "
            "Set DATABASE_URL to another database for the demo, or take `live` off that account."
        )


if __name__ == "__main__":
    sys.exit(main())
