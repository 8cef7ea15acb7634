"""What one callback does is nobody else's trouble."""

from __future__ import annotations

import asyncio
import logging

import pytest

from marketdata.callbacks import Callbacks
from marketdata.clock import SystemClock


@pytest.fixture
def callbacks() -> Callbacks:
    return Callbacks(("on_tick", "on_error"), SystemClock())


def test_an_unknown_event_is_refused_by_name(callbacks: Callbacks) -> None:
    with pytest.raises(ValueError, match=r"unknown event 'tick': use one of on_tick, on_error"):
        callbacks.register("tick", print)


def test_what_cannot_be_called_is_refused(callbacks: Callbacks) -> None:
    with pytest.raises(TypeError, match="pass a function"):
        callbacks.register("on_tick", None)  # type: ignore[arg-type]


def test_one_that_raises_stops_neither_the_others_nor_the_caller(
    callbacks: Callbacks, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []
    callbacks.register("on_tick", lambda _: 1 / 0)
    callbacks.register("on_tick", heard.append)
    for number in range(3):
        callbacks.emit("on_tick", number)
    assert heard == [0, 1, 2]
    assert callbacks.errors == 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR]  # once a second at most


async def test_a_coroutine_function_is_started_and_its_failure_counted(callbacks: Callbacks) -> None:
    heard = asyncio.Event()

    async def good() -> None:
        heard.set()

    async def bad() -> None:
        raise RuntimeError("no")

    callbacks.register("on_error", bad)
    callbacks.register("on_error", good)
    callbacks.emit("on_error")
    await asyncio.wait_for(heard.wait(), 5)
    assert callbacks.errors == 1


def test_wants_tells_whether_anybody_listens(callbacks: Callbacks) -> None:
    assert not callbacks.wants("on_tick")
    callbacks.register("on_tick", print)
    assert callbacks.wants("on_tick")
