"""Which accounts of ended exits are looked at often, and what is known of their exits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from strategies.domain.exits import OrderState
from strategies.models import Exit, ExitOrder
from strategies.records import trading_day, watched_accounts, watched_exits
from strategies.services import new_exit

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 26, 5, 0, tzinfo=UTC)
TODAY = trading_day(NOW.timestamp())


@pytest.fixture
def ordered(strategy):
    def place(exit_state: str, age_s: float, order_state: str) -> ExitOrder:
        row = new_exit(strategy, "stop_loss", NOW, Decimal(1500), {})
        row.state = exit_state
        row.save()
        Exit.objects.update(updated_at=NOW - timedelta(seconds=age_s))
        return ExitOrder.objects.create(
            exit=row, account=strategy.account, tag="TG1", trading_day=TODAY, side="SELL", product="MIS",
            quantity=100, state=order_state, planned_at=NOW, updated_at=NOW,
        )  # fmt: skip

    return place


@pytest.mark.parametrize(
    ("told", "is_hot"),
    [
        (("done", 5, "filled"), True),
        (("done", 60, "filled"), False),
        (("done", -5, "filled"), False),  # the clock was set back: nobody knows when it ended
        (("working", 5, "filled"), False),
        (("working", 60, "planned"), False),
        (("working", 60, "live"), True),
        (("done", 60, "acked"), True),
        (("done", 60, "lost"), True),
        (("done", 60, "rejected"), False),
    ],
)
def test_an_account_is_hot_while_something_may_still_come_of_its_orders(ordered, strategy, told, is_hot):
    ordered(*told)
    assert watched_accounts(TODAY, None, NOW.timestamp(), 30.0) == [(strategy.account_id, is_hot)]
    assert watched_accounts(TODAY, [strategy.user_id + 1], NOW.timestamp(), 30.0) == []
    assert watched_accounts(TODAY - timedelta(days=1), None, NOW.timestamp(), 30.0) == []


def test_an_exit_is_told_with_its_orders_and_one_that_nobody_can_read_is_left_out(ordered, strategy):
    order = ordered("done", 5, "filled")
    order.pk, order.tag, order.try_no, order.state = None, "TG2", 2, "melted"
    order.save()
    [found] = watched_exits(TODAY, [strategy.user_id], strategy.account_id)
    assert (found.symbol, found.is_final, found.user_id) == ("NSE:INFY", True, strategy.user_id)
    [known] = found.orders
    assert (known.tag, known.state, known.day) == ("TG1", OrderState.FILLED, TODAY)
    assert known.planned_at == NOW.timestamp()
