"""``run_listeners`` that stops itself (SIGSTOP) with an order's first byte about to leave.

``python -m tests.support.pausing [OPTIONS OF run_listeners]``. The permit is committed and its age
has been checked: from here on only the death of the process keeps the order from leaving.
"""

from __future__ import annotations

import http.client
import signal
import sys
import threading
from typing import Any

from django.core.management import execute_from_command_line

ATTRIBUTE = "endheaders"
_send = http.client.HTTPConnection.endheaders


def _pause_and_send(connection: http.client.HTTPConnection, *body: Any, **how: Any) -> None:
    if b"POST " in b"".join(getattr(connection, "_buffer", [])):
        setattr(http.client.HTTPConnection, ATTRIBUTE, _send)  # once is enough
        print("pausing", flush=True)  # noqa: T201
        # To this thread: one that is sent to the process may be taken by another, a moment later.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    _send(connection, *body, **how)


if __name__ == "__main__":
    setattr(http.client.HTTPConnection, ATTRIBUTE, _pause_and_send)
    execute_from_command_line(["manage.py", "run_listeners", *sys.argv[1:]])
