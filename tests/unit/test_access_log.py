from __future__ import annotations

from typing import Any

from daphne.server import Server

from project.access_log import leave_queries_out


def test_no_query_reaches_the_access_log() -> None:
    leave_queries_out()
    leave_queries_out()
    logged: list[dict[str, Any]] = []
    server = Server(None, ["tcp:0"], action_logger=lambda *said: logged.append(said[-1]))

    for path in ("/brokers/zerodha/callback/?status=success&request_token=canary", "/healthz"):
        server.log_action("http", "complete", {"path": path, "status": 302})

    assert logged == [
        {"path": "/brokers/zerodha/callback/?…", "status": 302},
        {"path": "/healthz", "status": 302},
    ]
