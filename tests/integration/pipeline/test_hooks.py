"""When quotes are asked for, and which may trigger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from marketdata.domain.gate import Gate
from marketdata.domain.orders import Quote
from marketdata.domain.sessions import IST, Calendar
from project.runtime import Hooks
from tests.fakes.clock import HandClock

MORNING, EVENING, NIGHT = "2026-11-23T11:00", "2026-11-23T18:00", "2026-11-23T03:00"
SATURDAY = "2026-11-21T11:00"


class Engine:
    """What the hooks use of the exit engine; the quotes it would have been given."""

    def __init__(self, *symbols: str) -> None:
        self._symbols = set(symbols)
        self.monitor = self
        self.log: list[str] = []
        self.admitted: set[str] = set()

    def symbols(self, user_id: int) -> set[str]:
        return self._symbols

    async def reconcile(self) -> None:
        self.log.append("reconcile")

    async def on_connected(
        self, user_id: int, account_id: int, *, admits: Callable[[Quote], bool]
    ) -> frozenset[str]:
        self.log.append("quotes")
        self.admitted = {symbol for symbol in self._symbols if admits(Quote(symbol, 1))}
        return frozenset(self.admitted)


def hooks(engine: Engine, at: str) -> Hooks:
    clock = HandClock(datetime.fromisoformat(at).replace(tzinfo=IST).timestamp())
    unused: Any = None
    exits: Any = engine
    return Hooks(exits, Gate(Calendar()), unused, clock)


@pytest.mark.parametrize(
    ("at", "asked", "admitted"),
    [
        (MORNING, True, {"NSE:INFY", "MCX:GOLDM"}),
        (EVENING, True, {"MCX:GOLDM"}),
        (NIGHT, False, set()),
        (SATURDAY, True, set()),  # the exchange's own time could say that it trades after all
    ],
)
async def test_only_open_exchanges_are_judged_by_quotes(at: str, *, asked: bool, admitted: set[str]) -> None:
    engine = Engine("NSE:INFY", "MCX:GOLDM")
    assert await hooks(engine, at).judge_by_quotes(1, 2) == admitted
    assert engine.log == ["reconcile", "quotes"][: 1 + asked]
    assert engine.admitted == admitted


async def test_with_nothing_armed_nothing_is_asked_for() -> None:
    engine = Engine()
    assert await hooks(engine, MORNING).judge_by_quotes(1, 2) == frozenset()
    assert engine.log == ["reconcile"]
