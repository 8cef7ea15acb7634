"""When quotes are asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import pytest

from marketdata.domain.gate import Gate
from marketdata.domain.sessions import IST, Calendar
from project.runtime import Hooks
from tests.fakes.clock import HandClock

MORNING, EVENING, NIGHT = "2026-11-23T11:00", "2026-11-23T18:00", "2026-11-23T03:00"
SATURDAY = "2026-11-21T11:00"


class Engine:
    """What the hooks use of the exit engine."""

    def __init__(self, *symbols: str) -> None:
        self._symbols = set(symbols)
        self.monitor = self
        self.log: list[str] = []

    def symbols(self, user_id: int) -> set[str]:
        return self._symbols

    async def reconcile(self) -> None:
        self.log.append("reconcile")

    async def judge_by_quotes(
        self, user_id: int, account_id: int, symbols: Collection[str] | None, *, is_gap: bool
    ) -> Mapping[str, int]:
        self.log.append("quotes" if symbols is None else f"quotes of {sorted(symbols)}")
        return dict.fromkeys(self._symbols, 1)


def hooks(engine: Engine, at: str) -> Hooks:
    clock = HandClock(datetime.fromisoformat(at).replace(tzinfo=IST).timestamp())
    unused: Any = None
    exits: Any = engine
    return Hooks(exits, Gate(Calendar()), unused, clock)


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        (MORNING, True),
        (EVENING, True),
        (NIGHT, False),
        (SATURDAY, True),  # the exchange's own time could say that it trades after all
    ],
)
async def test_quotes_are_asked_for_unless_every_exchange_is_closed(at: str, *, asked: bool) -> None:
    engine = Engine("NSE:INFY", "MCX:GOLDM")
    assert bool(await hooks(engine, at).judge_by_quotes(1, 2)) is asked
    assert engine.log == ["reconcile", "quotes"][: 1 + asked]


async def test_with_nothing_armed_nothing_is_asked_for() -> None:
    engine = Engine()
    assert await hooks(engine, MORNING).judge_by_quotes(1, 2) == {}
    assert engine.log == ["reconcile"]


async def test_where_single_instruments_are_in_the_dark_nothing_else_is_read() -> None:
    engine = Engine("NSE:INFY", "NSE:SBIN")
    assert await hooks(engine, MORNING).judge_by_quotes(1, 2, {"NSE:INFY"})
    assert engine.log == ["quotes of ['NSE:INFY']"]
