"""Delays: jittered, capped, without end."""

from __future__ import annotations

import asyncio
import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.backoff import REFUSED_S, STABLE_S, Delays, full_jitter, interruptible, pause
from marketdata.domain.errors import BrokerRejected, BrokerUnavailable, TryLater
from tests.fakes.clock import HandClock


@given(st.integers())
def test_no_delay_leaves_its_doubling_bound(seed: int) -> None:
    delays = list(islice(full_jitter(random.Random(seed)), 40))
    bounds = [1, 2, 4, 8] + [15] * 36
    assert all(0 <= delay <= bound for delay, bound in zip(delays, bounds, strict=True))


def test_many_clients_spread_over_the_whole_range() -> None:
    fifth = [next(islice(full_jitter(random.Random(seed)), 4, 5)) for seed in range(200)]
    assert min(fifth) < 1.5
    assert max(fifth) > 13.5


def test_one_seed_gives_one_run() -> None:
    first, second = (list(islice(full_jitter(random.Random(7)), 10)) for _ in range(2))
    assert first == second


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


TROUBLE = BrokerUnavailable("gone")


class TestDelays:
    def test_they_grow_while_connections_do_not_last(self) -> None:
        delays = Delays(Longest())
        assert [delays.after(TROUBLE, 1.0) for _ in range(6)] == [1, 2, 4, 8, 15, 15]

    def test_one_that_lasted_starts_them_anew(self) -> None:
        delays = Delays(Longest())
        assert [delays.after(TROUBLE, lived_s) for lived_s in (0, 0, STABLE_S + 1, 0)] == [1, 2, 1, 2]

    @pytest.mark.parametrize(
        ("error", "least"), [(TryLater("full", 60), 60), (BrokerRejected("no plan"), REFUSED_S)]
    )
    def test_some_ends_want_patience(self, error: Exception, least: float) -> None:
        assert least <= Delays(random.Random(1)).after(error, 0) <= least + 1


class TestInterruptible:
    async def test_it_returns_what_the_work_returns(self) -> None:
        assert await interruptible(asyncio.sleep(0, "done"), "left", unless=asyncio.Event()) == "done"

    async def test_a_failure_is_passed_on(self) -> None:
        async def fail() -> None:
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await interruptible(fail(), None, unless=asyncio.Event())

    async def test_a_call_ends_the_work(self) -> None:
        cancelled, call = asyncio.Event(), asyncio.Event()

        async def work() -> str:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return "done"

        asyncio.get_running_loop().call_soon(call.set)
        assert await interruptible(work(), "left", unless=call) == "left"
        await asyncio.wait_for(cancelled.wait(), 1)

    async def test_a_pause_is_cut_short(self) -> None:
        call = asyncio.Event()
        call.set()
        await asyncio.wait_for(pause(HandClock(), 3600, unless=call), 1)
