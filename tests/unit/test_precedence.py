"""What can wait lets an order go first, and for a quarter of a second only."""

from __future__ import annotations

import asyncio

import pytest

from marketdata.precedence import HELD_UP_S, PatientClock, Precedence
from tests.fakes.clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nothing_urgent_holds_up_nobody(clock):
    precedence = Precedence(clock)
    await precedence.wait()
    precedence.begin("order")
    precedence.begin("order")
    precedence.end("order")
    precedence.end("nobody")
    await precedence.wait()


async def test_others_wait_until_the_last_urgent_one_has_left(clock):
    precedence = Precedence(clock)
    precedence.begin("one")
    precedence.begin("two")
    waiting = asyncio.create_task(precedence.wait())
    precedence.end("one")
    await settled()
    assert not waiting.done()
    precedence.end("two")
    await settled()
    assert waiting.done()


async def test_who_is_urgent_itself_waits_for_nobody(clock):
    precedence = Precedence(clock)
    precedence.begin("one")
    precedence.begin("two")
    await asyncio.wait_for(precedence.wait("one"), 5)


async def test_who_sleeps_by_a_patient_clock_wakes_when_nothing_is_urgent(clock):
    precedence = Precedence(clock)
    patient = PatientClock(clock, precedence)
    sleeping = asyncio.create_task(patient.sleep(1))
    await settled()
    precedence.begin("order")
    clock.advance(1)
    await settled()
    assert not sleeping.done()
    precedence.end("order")
    await settled()
    assert sleeping.done()
    assert (patient.time(), patient.monotonic()) == (clock.time(), clock.monotonic())


async def test_whoever_is_on_its_way_for_long_holds_up_nobody(clock):
    precedence = Precedence(clock)
    precedence.begin("waits for the broker's budget")
    waiting = asyncio.create_task(precedence.wait())
    await settled()
    clock.advance(HELD_UP_S)
    await settled()
    assert waiting.done()
