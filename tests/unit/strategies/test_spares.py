"""A connection opened ahead is used once, soon, and only while it is open; else it is closed."""

from __future__ import annotations

import asyncio

import pytest

from marketdata.domain.errors import BrokerUnavailable
from strategies.spares import SPARE_S, SpareWire
from tests.fakes.clock import HandClock


class Wire:
    def __init__(self) -> None:
        self.is_kept = True
        self.is_closed = False

    def is_open(self) -> bool:
        return self.is_kept and not self.is_closed

    def close(self) -> None:
        self.is_closed = True


class Opening:
    """Opens wires when it is told to."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fails = False

    async def __call__(self) -> Wire:
        await self.may_end.wait()
        if self.fails:
            raise BrokerUnavailable("refused")
        self.wires.append(Wire())
        return self.wires[-1]


@pytest.fixture
def opening() -> Opening:
    return Opening()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def spare(opening, clock) -> SpareWire:
    return SpareWire(opening, clock)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_is_opened_and_taken_once(spare, opening):
    spare.begin()
    spare.begin()
    assert await spare.take() is opening.wires[0]
    assert await spare.take() is None
    assert [wire.is_closed for wire in opening.wires] == [False]


async def test_nobody_took_it_within_a_second(spare, opening, clock):
    spare.begin()
    await settled()
    clock.advance(SPARE_S)
    await settled()
    assert await spare.take() is None
    assert opening.wires[0].is_closed


async def test_what_the_broker_has_closed_is_not_used(spare, opening):
    spare.begin()
    await settled()
    opening.wires[0].is_kept = False
    assert await spare.take() is None
    assert opening.wires[0].is_closed


async def test_what_could_not_be_opened_is_tried_by_the_order_itself(spare, opening):
    opening.fails = True
    spare.begin()
    assert await spare.take() is None


@pytest.mark.parametrize("end", ["close", "cancel"])
async def test_what_comes_too_late_is_closed(spare, opening, end):
    opening.may_end.clear()
    spare.begin()
    if end == "close":
        spare.close()
    else:
        taking = asyncio.create_task(spare.take())
        await settled()
        taking.cancel()
    opening.may_end.set()
    await settled()
    assert [wire.is_closed for wire in opening.wires] == [True]
