"""How long a transaction may take, and what it is made of."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from marketdata.database import DatabaseThread
from marketdata.domain.orders import Outcome, RejectClass, RejectReason, WriteResult
from strategies.models import Exit, ExitOrder, Strategy
from strategies.services import exit_now, start_strategy, stop_strategy, update_stop
from tests.support.exits import ended, make, running, tick
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT_S = 0.05


def took(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def test_what_a_page_writes_takes_less_than_fifty_milliseconds(account, instruments) -> None:
    least = dict.fromkeys(("start", "move", "stop", "exit"), 60.0)
    for _ in range(40):  # other work of the machine only adds
        row: Strategy = make(account, instruments["NSE:INFY"])
        times = {
            "start": took(lambda: start_strategy(row)),  # noqa: B023 - called at once
            "move": took(lambda: update_stop(row, Decimal("1490"))),  # noqa: B023
            "stop": took(lambda: stop_strategy(row)),  # noqa: B023
        }
        start_strategy(row)
        times["exit"] = took(lambda: exit_now(row))  # noqa: B023
        least = {name: min(least[name], value) for name, value in times.items()}
        if all(value < LIMIT_S for value in least.values()):
            return
    raise AssertionError(least)


async def test_a_report_that_is_slow_holds_up_no_exit(strategy, broker, told) -> None:
    reports, over = DatabaseThread("reports"), threading.Event()
    async with running(broker, told) as engine:
        report = asyncio.ensure_future(reports.run(over.wait, 30))
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await ended()
        assert not report.done()
        over.set()
        assert await report
    reports.close()


@pytest.mark.parametrize("words", ["a NUL \0 in it", "half a \ud83d smiley", "fine: ₹ 5 too little"])
async def test_a_broker_s_words_are_stored_whatever_they_are_made_of(strategy, broker, told, words) -> None:
    refusal = WriteResult(Outcome.REJECTED, "", words, RejectClass.HUMAN, RejectReason.MARGIN)
    broker._reject = lambda _: refusal
    broker.script.append("reject")
    async with running(broker, told) as engine:
        engine.monitor.on_ticks(strategy.user_id, [tick("1499.00")])
        await eventually_async(told.alerts, 5)
    order = await ExitOrder.objects.aget()
    assert order.state == "rejected"
    assert order.message.split()[0] == words.split()[0]
    assert (await Exit.objects.aget()).state == "needs_human"
