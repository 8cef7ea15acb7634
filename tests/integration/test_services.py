"""The only writers of a strategy's life, and the words in which they refuse."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketdata.models import BrokerAccount, Instrument, Subscription
from strategies.models import Exit, Strategy, StrategyEvent
from strategies.services import StrategyError, exit_now, start_strategy, stop_strategy, update_stop

pytestmark = pytest.mark.django_db


@pytest.fixture
def strategy(account, instruments) -> Strategy:
    return Strategy.objects.create(
        user=account.user,
        account=account,
        instrument=instruments["NSE:INFY"],
        position="BOUGHT",
        quantity=10,
        stop_loss="1400.00",  # text, as a caller may hold it
    )


def events(strategy: Strategy) -> list[str]:
    return [event.kind for event in StrategyEvent.objects.filter(strategy=strategy).order_by("id")]


def test_starting_arms_subscribes_and_runs_the_account(strategy, account):
    start_strategy(strategy, by=account.user)
    assert (strategy.status, strategy.epoch) == ("active", 1)
    assert Subscription.objects.get().holder == f"strategy:{strategy.pk}"
    account.refresh_from_db()
    assert account.desired_state == "running"
    assert StrategyEvent.objects.get().detail == {"stop_loss": "1400.00", "by": "trader"}


def test_stopping_unsubscribes_and_leaves_the_position(strategy):
    stop_strategy(start_strategy(strategy))
    assert (strategy.status, strategy.position) == ("closed", "BOUGHT")
    assert not Subscription.objects.exists()


def test_a_shared_instrument_stays_subscribed_until_its_last_holder_lets_go(strategy):
    other = Strategy.objects.get(pk=strategy.pk)
    other.pk = None
    other.save()
    start_strategy(strategy)
    start_strategy(other)
    stop_strategy(strategy)
    assert [row.holder for row in Subscription.objects.all()] == [f"strategy:{other.pk}"]
    stop_strategy(other)
    assert not Subscription.objects.exists()


def test_starting_again_is_a_new_arming(strategy):
    start_strategy(stop_strategy(start_strategy(strategy)))
    assert strategy.epoch == 2
    assert events(strategy) == ["started", "stopped", "started"]


def test_moving_the_stop_of_an_active_strategy_is_a_new_arming(strategy):
    update_stop(start_strategy(strategy), Decimal("1410.05"))
    assert (strategy.stop_loss, strategy.epoch, strategy.status) == (Decimal("1410.05"), 2, "active")
    assert StrategyEvent.objects.get(kind="stop_moved").detail["from"] == "1400.00"


@pytest.mark.parametrize("stop", ["0", "-1", "NaN", "Infinity", "1400.03", "much"])
def test_a_stop_that_is_no_price_is_refused_by_its_value(strategy, stop):
    with pytest.raises(StrategyError, match=stop.removeprefix("-")):
        update_stop(strategy, stop)
    strategy.refresh_from_db()
    assert strategy.stop_loss == Decimal("1400.00")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("quantity", 0, "no quantity"),
        ("stop_loss", None, "no stop-loss"),
        ("stop_loss", "0.00", "above zero"),
    ],
)
def test_an_incomplete_strategy_is_not_started(strategy, field, value, words):
    Strategy.objects.update(**{field: value})
    with pytest.raises(StrategyError, match=words):
        start_strategy(strategy)
    assert not Subscription.objects.exists()


def test_an_instrument_of_another_broker_is_refused(strategy, account):
    strategy.instrument = Instrument.objects.create(
        broker="dhan", exchange="NSE", tradingsymbol="INFY", token="1"
    )
    strategy.save()
    with pytest.raises(StrategyError, match="listed by Dhan"):
        start_strategy(strategy)


def test_an_account_of_another_user_is_refused(strategy, django_user_model):
    other = django_user_model.objects.create_user("other")
    strategy.account = BrokerAccount.objects.create(user=other, broker="zerodha")
    strategy.save()
    with pytest.raises(StrategyError, match="another user"):
        start_strategy(strategy)


def test_nothing_can_be_done_to_an_exit_in_progress(strategy):
    exit_now(start_strategy(strategy))
    assert (strategy.status, Exit.objects.get().reason) == ("exiting", "manual")
    for act in (start_strategy, stop_strategy, exit_now, lambda s: update_stop(s, Decimal("1300"))):
        with pytest.raises(StrategyError, match="already being exited"):
            act(strategy)
    assert Exit.objects.count() == 1


def test_a_strategy_that_is_not_active_has_nothing_to_stop_or_exit(strategy):
    for act in (stop_strategy, exit_now):
        with pytest.raises(StrategyError, match="is draft"):
            act(strategy)


def test_a_strategy_without_a_position_only_watches(strategy):
    Strategy.objects.update(position="NONE", stop_loss=None, quantity=0)
    start_strategy(strategy)
    assert Subscription.objects.count() == 1
    with pytest.raises(StrategyError, match="no position"):
        exit_now(strategy)
