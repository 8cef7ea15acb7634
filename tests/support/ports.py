"""Free ports of the loopback interface."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import cache

FIRST, COUNT = 10_000, 22_000
"""Below what a system gives away by itself, to outgoing connections too: between our look and our server's
start, which takes seconds on a busy machine, nobody is given the same."""
APART, STEP = 97, 7
"""Between where two processes begin, and between two ports: who asks for the next one above takes none of ours."""


def free_port() -> int:
    """Return a port nobody listens on, another one each time."""
    return next(port for port in _candidates(os.getpid()) if _is_free(port))


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on, all different."""
    return [free_port() for _ in range(count)]


@cache
def _candidates(pid: int) -> Iterator[int]:
    """Return all ports again and again; two test runs at once begin in different places."""
    number = pid * APART
    while True:
        yield FIRST + number % COUNT
        number += STEP


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
