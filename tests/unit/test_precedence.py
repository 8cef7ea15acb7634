"""What can wait lets an order go first, and for a quarter of a second only."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from marketdata.precedence import HELD_UP_S, PatientClock, PatientStatements, Precedence
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


class Order(threading.Event):
    """An order that is on its way for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go_first: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.let_go_first.append(timeout or 0.0)
        return super().wait(timeout)


def execute(statements: PatientStatements, *, in_transaction: bool = False) -> Any:
    context = {"connection": SimpleNamespace(in_atomic_block=in_transaction)}
    return statements(lambda *told: told[0], "SELECT 1", None, False, context)


def test_the_statements_of_a_unit_wait_for_a_quarter_of_a_second_in_all():
    order = Order()
    unit = PatientStatements(order)
    assert [execute(unit) for _ in range(3)] == ["SELECT 1"] * 3
    assert order.let_go_first[0] == HELD_UP_S
    assert sum(order.let_go_first[1:]) < HELD_UP_S


def test_a_statement_in_a_transaction_waits_for_nobody():
    order = Order()
    assert execute(PatientStatements(order), in_transaction=True) == "SELECT 1"
    assert order.let_go_first == []
