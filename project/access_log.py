"""Daphne's access log without the query of an address: a broker's callback carries a token there."""

from __future__ import annotations

from functools import wraps
from typing import Any

from daphne.server import Server


def leave_queries_out() -> None:
    """Have every line that Daphne logs of a request end with the path. Safe to call twice."""
    log_action = Server.log_action
    if hasattr(log_action, "__wrapped__"):
        return

    @wraps(log_action)
    def without_query(self: Server, protocol: str, action: str, details: dict[str, Any]) -> None:
        path, separator, _ = str(details.get("path", "")).partition("?")
        log_action(self, protocol, action, {**details, "path": f"{path}?…" if separator else path})

    Server.log_action = without_query
