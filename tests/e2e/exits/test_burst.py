"""A market that falls through many stops at once: ``make burst`` tries it with a thousand of one account."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

import pytest
from asgiref.sync import sync_to_async

from marketdata.brokers import registry
from marketdata.database import DatabaseThread, FairDatabaseThread
from marketdata.simulator.control import SimulatorControl
from strategies.models import Exit, ExitOrder, Strategy
from tests.support.exits import Told
from tests.support.trader import INFY, Trader, engine

T = TypeVar("T")
JOSTLE = 20
"""Ten may be on their way to a broker at once: the last of ten may overtake the first, and the next ten them."""


class MeasuredThread(DatabaseThread):
    """Knows how long the database kept it busy."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.units: Counter[str] = Counter()
        self.took_s: Counter[str] = Counter()

    async def run(self, unit: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        def measured() -> T:
            began = time.perf_counter()
            try:
                return unit(*args, **kwargs)
            finally:
                name = getattr(getattr(unit, "func", unit), "__name__", "other")
                self.units[name] += 1
                self.took_s[name] += time.perf_counter() - began  # type: ignore[assignment]

        return await super().run(measured)


def arm_many(trader: Trader, quantities: Sequence[int]) -> None:
    """Arm a stop for each quantity, all on one position, without a thousand requests."""
    [instrument] = trader.listed(INFY)
    trader.hold(sum(quantities))
    common = {"user": trader.account.user, "account": trader.account, "instrument": instrument}
    Strategy.objects.bulk_create(
        Strategy(
            **common, position="BOUGHT", product="MIS", quantity=n, stop_loss=1500, status="active", epoch=1
        )
        for n in quantities
    )


def received(trader: Trader) -> list[dict[str, Any]]:
    return sorted(trader.sent(), key=lambda row: row["received_at"])


def exits_by_tag(trader: Trader) -> dict[str, Exit]:
    rows = ExitOrder.objects.filter(account=trader.account).exclude(sent_at=None).select_related("exit")
    return {row.tag: row.exit for row in rows}


def most_within(times: Sequence[float], seconds: float) -> int:
    return max(sum(1 for other in times if 0 <= other - at < seconds) for at in times)


def out_of_turn(quantities: Sequence[int]) -> int:
    """Return by how many places an order left before one that loses more."""
    ranks = {quantity: place for place, quantity in enumerate(sorted(quantities, reverse=True))}
    return max(abs(ranks[quantity] - place) for place, quantity in enumerate(quantities))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", registry.BROKERS)
async def test_all_leave_in_order_of_loss_at_the_brokers_pace_and_hold_nobody_up(
    broker: str, control: SimulatorControl, transactional_db: None, pytestconfig: pytest.Config
) -> None:
    limits = registry.adapter(broker).order_limits
    count = int(pytestconfig.getoption("--burst"))
    if limits.per_hour is not None:  # some exits need a second order: the last would wait for an hour
        count = min(count, limits.per_hour * 9 // 10)
    big, some, single = [await sync_to_async(Trader.join)(broker, control) for _ in range(3)]
    quantities = list(range(1, count + 1))
    Random(4).shuffle(quantities)
    await sync_to_async(arm_many)(big, quantities)
    await sync_to_async(arm_many)(some, range(1, 21))
    await sync_to_async(arm_many)(single, [50])
    control.enforce_limits()
    thread, told = MeasuredThread("measured-journal"), Told()
    async with engine(told, database=FairDatabaseThread(thread)) as running:
        began, cpu = time.time(), time.process_time()
        for trader in (big, some, single):
            trader.breach(running)
        await single.ended(timeout=60)
        await some.ended(count=20, timeout=60)
        await big.ended(count=count, timeout=600)
        took, cpu = time.time() - began, time.process_time() - cpu
    first = {trader.client_id: received(trader)[0]["received_at"] - began for trader in (big, some, single)}
    last = {trader.client_id: received(trader)[-1]["received_at"] - began for trader in (big, some)}
    print(  # noqa: T201
        f"\n{broker}: {count} stops of one account, 20 of another, 1 of a third in one tick: {took:.1f} s; "
        f"first orders after {', '.join(f'{at:.2f}' for at in first.values())} s, "
        f"last after {', '.join(f'{at:.1f}' for at in last.values())} s; at most "
        f"{control.order_requests(big.client_id)['most_in_a_second']} requests in a second; processor {cpu:.1f} s, "
        f"{len(told.alerts())} alerts; "
        f"journal {sum(thread.took_s.values()):.1f} s: "
        + ", ".join(f"{n} {name} {thread.took_s[name]:.1f} s" for name, n in thread.units.most_common())
    )
    for trader, stops in ((big, count), (some, 20), (single, 1)):
        orders = received(trader)
        # None was refused; a fill that came during a read may have left an exit two orders for its quantity.
        assert len(orders) == len({row["tag"] for row in orders}) == trader.places()
        assert all(row["filled"] == row["quantity"] for row in orders)
        exits = await sync_to_async(exits_by_tag)(trader)
        first_orders = list({exits[row["tag"]].pk: exits[row["tag"]].quantity for row in orders}.values())
        assert len(first_orders) == stops
        assert sum(row["filled"] for row in orders) == sum(first_orders)
        assert trader.held() == 0
        times = [row["received_at"] for row in orders]
        assert control.order_requests(trader.client_id)["most_in_a_second"] <= limits.per_second
        assert most_within(times, 60) <= limits.per_minute
        assert out_of_turn(first_orders) <= JOSTLE
    before = [row for row in received(big) if row["received_at"] < began + first[single.client_id]]
    assert len(before) <= JOSTLE
    assert last[some.client_id] < last[big.client_id]
