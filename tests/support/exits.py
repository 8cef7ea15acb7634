"""The exit engine in a test: a broker with state, what was told, and a price."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from marketdata.clock import SystemClock
from marketdata.domain.prices import to_units
from marketdata.domain.ticks import Tick
from strategies.accounts import AccountDesks
from strategies.engine import ExitEngine
from strategies.journal import Fence, Journal
from strategies.models import Exit, Strategy
from strategies.switches import Refusal
from tests.fakes.broker import FakeBroker
from tests.support.waiting import eventually_async


class Told:
    """Records what was announced."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str, dict[str, Any]]] = []
        self.published: list[tuple[str, dict[str, Any]]] = []

    def tell(self, user_id, kind, body) -> None:
        self.messages.append((user_id, kind, dict(body)))

    def publish(self, channel, message) -> None:
        self.published.append((channel, dict(message)))

    def alerts(self) -> list[str]:
        return [body["text"] for _, kind, body in self.messages if kind == "alert"]


def make(account, instrument, **fields) -> Strategy:
    fields = {"position": "BOUGHT", "quantity": 100, "stop_loss": Decimal("1500"), **fields}
    return Strategy.objects.create(user=account.user, account=account, instrument=instrument, **fields)


@asynccontextmanager
async def running(
    broker: FakeBroker,
    told: Told,
    *,
    refusal: Refusal | None = None,
    fence: Fence | None = None,
    **options: Any,
) -> AsyncIterator[ExitEngine]:
    clock = SystemClock()
    journal = Journal(told, clock, random.Random(), lambda _: refusal, fence)
    engine = ExitEngine(journal, AccountDesks(lambda _: broker, clock), clock, **options)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def tick(price: str, symbol: str = "NSE:INFY") -> Tick:
    now = SystemClock().time()
    return Tick(symbol, to_units(Decimal(price)), now, int(now))


async def ended(state: str = "done", count: int = 1, timeout: float = 10) -> list[Exit]:
    async def look() -> list[Exit]:
        rows = [row async for row in Exit.objects.filter(state=state).select_related("strategy")]
        return rows if len(rows) == count else []

    return await eventually_async(look, timeout)
