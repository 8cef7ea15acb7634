from __future__ import annotations

import os

import pytest

from tests.support.processes import python
from tests.support.waiting import eventually, eventually_async


def test_a_process_is_read_and_stopped() -> None:
    with python("-c", "import time; print('ready'); time.sleep(60)") as process:
        assert process.wait_for("ready") == "ready"
        assert process.stop() == -15


def test_a_process_is_gone_after_its_block() -> None:
    with python("-c", "import time; print('ready'); time.sleep(60)") as process:
        process.wait_for("ready")
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_process_that_ended_says_so_instead_of_waiting() -> None:
    with python("-c", "print('gone')") as process, pytest.raises(RuntimeError, match="gone"):
        process.wait_for("ready", timeout=30)


def test_waiting_gives_what_came_or_says_what_was_seen() -> None:
    seen = iter(range(100))
    assert eventually(lambda: next(seen) >= 2)
    with pytest.raises(AssertionError, match="seen last: 0"):
        eventually(lambda: 0, timeout=0.05)


async def test_waiting_takes_a_coroutine_function() -> None:
    seen = iter(range(100))

    async def look() -> int:
        return next(seen)

    assert await eventually_async(look) == 1
