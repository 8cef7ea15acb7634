from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketdata.models import BrokerAccount, Instrument, Listener, Subscription
from strategies import services
from strategies.live.state import read_state
from strategies.live.watching import unwatch, watch
from strategies.models import Exit, ExitOrder, Strategy

pytestmark = pytest.mark.django_db
Instruments = Mapping[str, Instrument]


def armed(user: User, account: BrokerAccount, instrument: Instrument) -> Strategy:
    row = Strategy.objects.create(
        user=user, account=account, instrument=instrument, position="BOUGHT", quantity=10,
        stop_loss=Decimal("1490.00"),
    )  # fmt: skip
    services.start_strategy(row, by=user)
    return row


def exited(strategy: Strategy, order_state: str, filled: int = 0) -> Exit:
    services.exit_now(strategy)
    row = strategy.exits.get()
    now = timezone.now()
    ExitOrder.objects.create(
        exit=row, account=strategy.account, trading_day=now.date(), tag=f"T{row.pk}", side="SELL", product="MIS",
        quantity=10, filled_quantity=filled, average_price=Decimal("1489.95") if filled else None,
        state=order_state, planned_at=now, updated_at=now,
    )  # fmt: skip
    return row


def queries(user: User) -> int:
    with CaptureQueriesContext(
        connection,
    ) as seen:
        read_state(user.pk, timezone.now())
    return len(seen)


def test_more_strategies_and_exits_cost_no_more_queries(
    user: User, account: BrokerAccount, instruments: Instruments
) -> None:
    exited(armed(user, account, instruments["NSE:INFY"]), "filled", 10)
    armed(user, account, instruments["NSE:INFY"])
    few = queries(user)
    for instrument in instruments.values():
        exited(armed(user, account, instrument), "live")
        armed(user, account, instrument)

    assert queries(user) == few <= 16


@pytest.mark.parametrize(
    ("order_state", "filled", "says", "tone"),
    [
        ("sending", 0, "Sending the order", "busy"),
        ("unknown", 0, "Sent, not confirmed by the broker", "bad"),
        ("acked", 0, "Accepted by the broker, not filled yet", "busy"),
        ("live", 4, "Partly filled: 4 of 10", "busy"),
    ],
)
def test_nothing_is_called_sold_before_it_is(
    *,
    order_state: str,
    filled: int,
    says: str,
    tone: str,
    user: User,
    account: BrokerAccount,
    instruments: Instruments,
) -> None:
    exited(armed(user, account, instruments["NSE:INFY"]), order_state, filled)
    [row] = read_state(user.pk, timezone.now()).strategies

    assert row["state"].startswith(says)
    assert row["tone"] == tone
    assert ("sold" in row["state"].lower()) == bool(filled)


def test_an_exit_that_needs_a_person_says_what_for(
    user: User, account: BrokerAccount, instruments: Instruments
) -> None:
    row = exited(armed(user, account, instruments["NSE:INFY"]), "unknown")
    Exit.objects.filter(pk=row.pk).update(state="needs_human", concern="the reply was lost")
    state = read_state(user.pk, timezone.now())

    for shown in (*state.strategies, *state.exits):
        assert (shown["state"], shown["tone"], shown["detail"]) == ("Needs you", "bad", "The reply was lost")


def test_a_listener_that_no_longer_reports_is_not_called_connected(
    user: User, account: BrokerAccount, instruments: Instruments
) -> None:
    armed(user, account, instruments["NSE:INFY"])
    now = timezone.now()
    Listener.objects.create(
        account=account, state="connected", reported_at=now, last_tick_at=now, subscription_count=1
    )

    fresh, late = read_state(user.pk, now), read_state(user.pk, now + timedelta(seconds=9))
    assert (fresh.listeners[0]["connected"], fresh.strategies[0]["state"]) == (True, "Armed")
    assert (late.listeners[0]["connected"], late.strategies[0]["state"]) == (False, "Armed, not watched")


def test_a_feed_without_prices_does_not_count_as_watching(
    user: User, account: BrokerAccount, instruments: Instruments
) -> None:
    armed(user, account, instruments["NSE:INFY"])
    now = timezone.now()
    Listener.objects.create(account=account, state="connected", reported_at=now, subscription_count=1)
    [row] = read_state(user.pk, now).strategies

    assert (row["state"], row["detail"]) == ("Armed, not watched", "Prices have stopped coming")


def test_one_contract_of_two_brokers_is_one_thing_to_watch(
    user: User, account: BrokerAccount, instruments: Mapping[str, Instrument]
) -> None:
    other = BrokerAccount.objects.create(user=user, broker="dhan", desired_state="running")
    twin = Instrument.objects.create(broker="dhan", exchange="NSE", tradingsymbol="INFY", token="NSE_EQ:1594")
    assert watch(user.pk, ["NSE:INFY", "NSE:INFY"]) == 1
    assert watch(user.pk, ["NSE:INFY"]) == 0
    for held_by, row in ((account, instruments["NSE:INFY"]), (other, twin)):
        Subscription.objects.get_or_create(account=held_by, instrument=row, holder=f"watch:{user.pk}")

    assert [row["symbol"] for row in read_state(user.pk, timezone.now()).watch] == ["NSE:INFY"]
    assert unwatch(user.pk, ["NSE:INFY"]) == 2
