from __future__ import annotations

import asyncio

import pytest

from marketdata.simulator.accounts import Accounts
from marketdata.simulator.exchange import Exchange
from marketdata.simulator.tape import Tape
from tests.unit.simulator.conftest import LISTINGS, ManualClock, Recorder, rupees

WATCHED = ["NSE:INFY", "NSE:NIFTY 50", "CDS:USDINR26NOVFUT", "NFO:NIFTY26NOV25900CE"]


def tape_of(seed: int, watched: list[str]) -> tuple[Tape, Recorder, ManualClock]:
    clock, recorder = ManualClock(), Recorder()
    exchange = Exchange(LISTINGS, Accounts(seed), clock)
    exchange.observe(recorder)
    exchange.watch(watched)
    return Tape(exchange, clock, seed=seed, rate=100), recorder, clock


def run(seed: int, ticks: int = 400, watched: list[str] = WATCHED) -> list[tuple[str, int, int]]:
    tape, recorder, _ = tape_of(seed, watched)
    for _ in range(ticks):
        tape.step()
    return [(p.instrument.symbol, p.price, p.at) for p in recorder.prints]


def test_one_seed_gives_one_run() -> None:
    assert run(7) == run(7)
    assert run(7) != run(8)


def test_an_instrument_moves_the_same_whoever_else_does() -> None:
    alone = [price for symbol, price, _ in run(7, 50, ["NSE:INFY"])]
    among = [price for symbol, price, _ in run(7, 400) if symbol == "NSE:INFY"]
    assert alone == among[: len(alone)] or among == alone[: len(among)]


def test_prices_stay_on_the_grid_inside_the_band_and_move() -> None:
    tape, recorder, _ = tape_of(3, WATCHED)
    for _ in range(2_000):
        tape.step()
    for trade in recorder.prints:
        item = trade.instrument
        assert trade.price > 0
        assert trade.price % item.listing.tick == 0
        assert not item.upper or item.lower < trade.price < item.upper
    assert len({p.price for p in recorder.prints if p.instrument.symbol == "NSE:INFY"}) > 20


def test_nothing_moves_where_nobody_looks() -> None:
    assert run(1, watched=[]) == []


async def test_the_rate_is_kept() -> None:
    tape, recorder, clock = tape_of(1, WATCHED)
    started = clock.monotonic()
    task = asyncio.create_task(tape.run())
    while clock.monotonic() < started + 2:
        await asyncio.sleep(0)
    task.cancel()
    assert len(recorder.prints) == pytest.approx(200, abs=4)


async def test_a_script_prints_in_order_with_its_gap() -> None:
    tape, recorder, _ = tape_of(1, [])
    await tape.play("NSE:INFY", [rupees("1499"), rupees("1498"), rupees("1497")], gap_s=2.0, age_s=60)
    assert [p.price for p in recorder.prints] == [rupees("1499"), rupees("1498"), rupees("1497")]
    first = recorder.prints[0].at
    assert [p.at - first for p in recorder.prints] == [0, 2, 4]
