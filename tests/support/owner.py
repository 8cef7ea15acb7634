"""A process that owns whom it can until it is ended: ``python -m tests.support.owner FOLDER``."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import django
from django.db import DatabaseError

django.setup()

from marketdata.database import db_unit  # noqa: E402 - models need Django set up
from tests.support.leasing import QUICK, holdings  # noqa: E402


def main(folder: Path) -> None:
    """Look for ever, and say whenever the number of users owned has changed."""
    owned, count = holdings(folder, "other"), -1
    while True:
        with suppress(DatabaseError):
            db_unit(owned.look)
        if len(owned.users) != count:
            count = len(owned.users)
            print(f"owns {count}", flush=True)  # noqa: T201
        time.sleep(QUICK.look_s)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
