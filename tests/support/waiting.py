"""The only way a test waits: for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
INTERVAL_S = 0.02
PATIENCE_S = 20.0
"""Says nothing of speed, and costs nothing where all is well: what has to be quick is measured (`stopwatch`)."""


def eventually(condition: Callable[[], T], timeout: float = PATIENCE_S) -> T:
    """Poll ``condition`` until what it returns is true, and return that.

    An ``AssertionError`` inside the condition means "not yet", so it may hold asserts
    (and must then return something true).

    Raises:
        AssertionError: Still not so after ``timeout`` seconds; shows what was seen last.

    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            seen: object = (value := condition())
            if value:
                return value
        except AssertionError as exc:
            seen = exc
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {timeout} s; seen last: {seen!r}")
        time.sleep(INTERVAL_S)


async def eventually_async(condition: Callable[[], Any], timeout: float = PATIENCE_S) -> Any:
    """As ``eventually``, leaving the event loop free; the condition may be a coroutine function."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            found = condition()
            value = await found if inspect.isawaitable(found) else found
            seen: object = value
            if value:
                return value
        except AssertionError as exc:
            seen = exc
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {timeout} s; seen last: {seen!r}")
        await asyncio.sleep(INTERVAL_S)
