"""What has to be unmistakable on the page: whether money moves, and through which accounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings

Row = dict[str, Any]


def banners(listeners: Sequence[Row]) -> list[str]:
    """Return what to say above everything else about a user's accounts; nothing while all of them trade."""
    simulated = [row for row in listeners if row["simulated"]]
    paper = [row for row in listeners if row["paper"] and not row["simulated"]]
    real = [row for row in listeners if not row["simulated"] and not row["paper"]]
    said = []
    if simulated and len(simulated) == len(listeners):
        said.append("Simulator: prices and orders are made up on this machine. No money moves.")
    elif simulated:
        said.append(f"Simulator: prices and orders of {_names(simulated)} are made up on this machine.")
    if paper:
        said.append(
            f"Paper: no orders are sent for {_names(paper)}. A touched stop is only told, nothing is sold."
        )
    if real and not settings.LIVE_TRADING:
        said.append(
            f"Orders are off: LIVE_TRADING is not set. Stops of {_names(real)} are watched, nothing is sold."
        )
    return said


def _names(rows: Sequence[Row]) -> str:
    return " and ".join(row["name"] for row in rows)
