"""Alerts that last as long as their trouble."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from marketdata.models import BrokerAccount
from strategies.alerts import acknowledge
from strategies.lasting import LastingAlerts, Trouble
from strategies.models import Alert
from tests.support.people import new_user

pytestmark = pytest.mark.django_db
NOW = timezone.now()
Keep = Callable[..., list[Alert]]


@pytest.fixture
def alerts() -> LastingAlerts:
    return LastingAlerts("unprotected")


@pytest.fixture
def trouble(account: BrokerAccount) -> Trouble:
    return Trouble(account.user_id, "down", "1 stop: refused", account.pk, strategies=frozenset({1}))


def test_it_is_told_once_while_its_words_change(alerts: LastingAlerts, trouble: Trouble) -> None:
    assert len(alerts.keep([trouble], None, NOW)) == 1
    assert alerts.keep([trouble], None, NOW) == []
    assert alerts.keep([replace(trouble, text="1 stop: timed out")], None, NOW) == []
    row = Alert.objects.get()
    assert (row.text, row.kind, row.urgency, row.closed_at) == (
        "1 stop: timed out",
        "unprotected",
        "urgent",
        None,
    )


def test_it_is_over_with_its_cause_and_another_one_is_another(
    alerts: LastingAlerts, trouble: Trouble
) -> None:
    alerts.keep([trouble], None, NOW)
    assert len(alerts.keep([replace(trouble, cause="silent")], None, NOW)) == 1
    assert [row.closed_at is None for row in Alert.objects.order_by("pk")] == [False, True]
    alerts.keep([], None, NOW)
    assert not Alert.objects.filter(closed_at=None).exists()
    assert len(alerts.keep([trouble], None, NOW)) == 1


def test_another_process_goes_on_with_what_is_open(alerts: LastingAlerts, trouble: Trouble) -> None:
    alerts.keep([trouble], None, NOW)
    following = LastingAlerts("unprotected")
    assert following.keep([], None, NOW, not_over=[trouble]) == []
    assert following.keep([trouble], None, NOW) == []
    assert Alert.objects.get().closed_at is None
    following.keep([], None, NOW)
    assert Alert.objects.get().closed_at == NOW


def test_others_users_are_left_alone(alerts: LastingAlerts, trouble: Trouble) -> None:
    alerts.keep([trouble], None, NOW)
    other = new_user("other")
    LastingAlerts("unprotected").keep([], [other.pk], NOW)
    assert Alert.objects.get().closed_at is None


def test_another_strategy_is_told_of_though_the_first_is_acknowledged(
    alerts: LastingAlerts, trouble: Trouble, user: User
) -> None:
    alerts.keep([trouble], None, NOW)
    acknowledge(Alert.objects.get(), user)
    alerts.keep([replace(trouble, text="1 stop: timed out")], None, NOW)
    assert Alert.objects.get().due_at is None
    later = NOW + timedelta(seconds=5)
    alerts.keep([replace(trouble, text="2 stops", strategies=frozenset({1, 2}))], None, later)
    row = Alert.objects.get()
    assert (row.acknowledged_at, row.due_at, row.text) == (None, later, "2 stops")


def test_it_becomes_urgent_and_quiet_again(alerts: LastingAlerts, trouble: Trouble) -> None:
    quiet = replace(trouble, urgency=Alert.Urgency.INFO)
    alerts.keep([quiet], None, NOW)
    Alert.objects.update(due_at=None)  # told
    alerts.keep([trouble], None, NOW)
    assert Alert.objects.values_list("urgency", "due_at").get() == ("urgent", NOW)
    alerts.keep([quiet], None, NOW)
    assert Alert.objects.values_list("urgency", "due_at").get() == ("info", None)
