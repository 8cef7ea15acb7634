"""Watching prices keeps the broker's distance between requests, also after a reading of several requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import pytest

from marketdata.domain.errors import BrokerUnavailable
from marketdata.domain.orders import Quote
from strategies.accounts import QUOTE_SPACING_S, AccountDesk
from tests.fakes.clock import HandClock

T = TypeVar("T")
REQUESTS = 3


class _Calls:
    """Runs calls where they are made."""

    async def read(self, call: Callable[[], T]) -> T:
        return call()

    write = read

    def close(self) -> None: ...


class _Gateway:
    """Takes several requests for one reading, at the broker's distance."""

    def __init__(self, clock: HandClock, *, fails: bool) -> None:
        self._clock = clock
        self._fails = fails
        self.asked_at: list[float] = []

    def quotes(self, _: Collection[str]) -> Mapping[str, Quote]:
        for number in range(REQUESTS):
            if number:
                self._clock.advance(QUOTE_SPACING_S)
            self.asked_at.append(self._clock.monotonic())
        if self._fails:
            raise BrokerUnavailable("refused")
        return {}


@pytest.mark.parametrize("fails", [False, True], ids=["answered", "refused"])
async def test_watching_waits_after_the_last_request_of_the_reading_before(fails: bool) -> None:
    clock = HandClock()
    gateway: Any = _Gateway(clock, fails=fails)
    desk = AccountDesk(gateway, clock, calls=_Calls())
    [first] = await asyncio.gather(desk.watch({"NSE:INFY"}), return_exceptions=True)
    assert isinstance(first, BrokerUnavailable) is fails
    second = asyncio.create_task(desk.watch({"NSE:INFY"}))
    await asyncio.sleep(0)
    assert len(gateway.asked_at) == REQUESTS, "the broker was asked again at once"
    clock.advance(QUOTE_SPACING_S)
    await asyncio.gather(second, return_exceptions=True)
    assert gateway.asked_at[REQUESTS] - gateway.asked_at[REQUESTS - 1] == pytest.approx(QUOTE_SPACING_S)
