"""System checks: what would fail later with a message that explains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution
from django.db import DatabaseError

from marketdata.clock import SystemClock

OLDEST_DAPHNE = 4


def daphne_is_current(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Refuse the Daphne that pip chooses when it obeys kiteconnect's pin of autobahn."""
    return daphne_problems(version("daphne"))


def daphne_problems(installed: str) -> list[CheckMessage]:
    if int(installed.split(".", maxsplit=1)[0]) >= OLDEST_DAPHNE:
        return []
    return [
        Error(
            f"Daphne {installed} is too old: Channels 4 needs Daphne {OLDEST_DAPHNE} or newer.",
            hint=(
                "kiteconnect pins an old autobahn, and a plain `pip install` then steps back to Daphne 3. "
                "Run `make install`: it installs the lock as it stands (see uv.toml)."
            ),
            id="project.E001",
        )
    ]


def calendar_is_filled(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Warn of a year without holidays; looked at where checks may use the database."""
    if not databases or settings.MARKET_HOURS == "always":
        return []
    from marketdata.marketdays import calendar_warnings

    try:
        return [Caution(text, id="project.W001") for text in calendar_warnings(SystemClock().time())]
    except DatabaseError:  # no tables yet
        return []
