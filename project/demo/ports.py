"""Loopback ports that nobody holds."""

from __future__ import annotations

import socket
from collections.abc import Iterable

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Tell whether a server could listen on ``port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Tell whether a server listens on ``port``."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def choose(wanted: int, taken: Iterable[int] = ()) -> int:
    """Return ``wanted``, or the next free port above it; none of ``taken``."""
    refused = frozenset(taken)
    for port in range(wanted, min(wanted + 200, 65536)):
        if port not in refused and is_free(port):
            return port
    raise OSError(f"no free port from {wanted} to {wanted + 199}: stop what listens there")
