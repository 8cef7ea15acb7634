from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from strategies.alerts import acknowledge, alert_body, announce, close_alerts, commit_alert
from strategies.models import Alert, Strategy
from strategies.services import exit_now, start_strategy
from tests.support.exits import Told, make

pytestmark = pytest.mark.django_db
NOON = datetime(2027, 1, 15, 6, 30, tzinfo=UTC)


@pytest.fixture
def strategy(account, instruments) -> Strategy:
    return start_strategy(make(account, instruments["NSE:INFY"], name="Infosys swing"))


@pytest.fixture
def exit_id(strategy: Strategy) -> int:
    exit_now(strategy)
    return strategy.exits.get().pk


def needs_human(user: User, exit_id: int | None = None, text: str = "look", **fields) -> Alert | None:
    given = {"kind": "needs_human", "at": NOON, **fields}
    return commit_alert(user_id=user.pk, exit_id=exit_id, text=text, **given)


def test_an_open_cause_is_told_of_once(user, strategy, exit_id):
    first = needs_human(user, exit_id, strategy_id=strategy.pk)
    assert first is not None
    assert first.due_at == NOON
    assert needs_human(user, exit_id, strategy_id=strategy.pk, at=NOON + timedelta(minutes=5)) is None

    assert needs_human(user, exit_id, strategy_id=strategy.pk, text="another")
    assert needs_human(user, exit_id, strategy_id=strategy.pk, kind="unknown")
    assert needs_human(user, strategy_id=strategy.pk)
    assert Alert.objects.count() == 4


def test_a_cause_that_comes_back_is_told_again(user, exit_id):
    first = needs_human(user, exit_id)
    assert close_alerts(exit_id, NOON) == 1
    again = needs_human(user, exit_id)

    assert first is not None
    assert again is not None
    assert again.pk != first.pk
    first.refresh_from_db()
    assert (first.closed_at, first.due_at) == (NOON, None)


def test_kinds_are_closed_apart(user, exit_id):
    needs_human(user, exit_id)
    needs_human(user, exit_id, kind="overfill")

    assert close_alerts(exit_id, NOON, kinds=("needs_human",)) == 1
    assert [row.kind for row in Alert.objects.filter(closed_at=None)] == ["overfill"]


def test_what_rolls_back_is_neither_written_nor_told(user, django_capture_on_commit_callbacks):
    told = Told()
    with django_capture_on_commit_callbacks(execute=True):
        with transaction.atomic():
            lost = needs_human(user)
            assert lost is not None
            announce(lost, told)
            transaction.set_rollback(True)
        with transaction.atomic():
            kept = needs_human(user, text="kept")
            assert kept is not None
            announce(kept, told)

    assert [row.text for row in Alert.objects.all()] == ["kept"]
    assert told.messages == [(user.pk, "alert", alert_body(kept))]


def test_acknowledging_stops_the_telling_but_the_cause_stays(user, exit_id):
    alert = needs_human(user, exit_id)
    assert alert is not None
    assert acknowledge(alert, user)
    assert not acknowledge(alert, user)

    alert.refresh_from_db()
    assert (alert.acknowledged_by, alert.due_at, alert.closed_at) == (user, None, None)
    assert needs_human(user, exit_id) is None  # the person knows of it


def test_news_are_over_once_they_are_read(user):
    alert = needs_human(user, kind="budget", urgency="info")
    assert alert is not None
    acknowledge(alert, user)

    assert needs_human(user, kind="budget", urgency="info", at=NOON + timedelta(minutes=1))


def test_unread_news_are_news_again_after_an_hour(user):
    def tell(minutes: int) -> bool:
        at = NOON + timedelta(minutes=minutes)
        return needs_human(user, kind="budget", urgency="info", at=at) is not None

    assert [tell(0), tell(59), tell(61)] == [True, False, True]


def test_a_long_broker_text_fits(user):
    assert needs_human(user, text="x" * 20_000)
    assert needs_human(user, text="x" * 20_000) is None


@pytest.mark.parametrize(
    ("account_is", "switches", "word"),
    [
        (("zerodha", False), (True, True, True), "LIVE"),
        (("zerodha", False), (False, True, True), "no orders"),
        (("zerodha", False), (True, False, True), "no orders"),
        (("zerodha", False), (True, True, False), "no orders"),
        (("zerodha", True), (True, True, True), "paper"),
        (("dhan", False), (True, True, True), "simulator"),
    ],
)
def test_it_says_whether_money_moves(account_is, switches, word, strategy, settings):
    settings.SIMULATED_BROKERS = frozenset({"dhan"})
    settings.LIVE_TRADING, strategy.account.live, strategy.live = switches
    strategy.account.broker, strategy.account.paper = account_is
    strategy.account.save()
    strategy.save()

    alert = needs_human(strategy.user, strategy_id=strategy.pk)
    assert alert is not None
    assert (alert.mode, alert.account) == (word, strategy.account)
    assert alert_body(alert)["mode"] == word
    assert alert_body(alert)["name"] == "Infosys swing"
