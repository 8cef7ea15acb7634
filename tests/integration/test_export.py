from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from marketdata.models import BrokerAccount, Instrument
from strategies import services
from strategies.alerts import commit_alert
from strategies.models import Strategy

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


def test_everything_of_a_strategy_is_exported_exactly_and_no_credential(
    client: Client, user: User, account: BrokerAccount, instruments: Mapping[str, Instrument]
) -> None:
    strategy = Strategy.objects.create(
        user=user, account=account, instrument=instruments["NSE:INFY"], position="BOUGHT", quantity=10,
        stop_loss=Decimal("1490.0500000"),
    )  # fmt: skip
    services.exit_now(services.start_strategy(strategy), by=user)
    row, now = strategy.exits.get(), timezone.now()
    row.orders.create(
        account=account, trading_day=now.date(), tag="TG1", side="SELL", product="MIS", quantity=10, state="filled",
        filled_quantity=10, average_price=Decimal("1490.0000001"), broker_order_id="2411", planned_at=now,
        sent_at=now, updated_at=now,
    )  # fmt: skip
    commit_alert(user_id=user.pk, kind="done", text="sold", at=now, strategy_id=strategy.pk, exit_id=row.pk)
    client.force_login(user)

    answer = client.get(f"/strategies/{strategy.pk}/export.json")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="strategy-{strategy.pk}.json"'
    document = json.loads(answer.content)
    assert document["strategy"]["stop_loss"] == "1490.05"
    [told] = document["exits"]
    assert told["orders"][0]["average_price"] == "1490.0000001"
    assert told["orders"][0]["broker_order_id"] == "2411"
    assert [step["title"] for step in told["story"]] == ["Exit asked for", "Permit"]
    assert [event["kind"] for event in document["events"]] == ["started", "exit_asked"]
    assert document["alerts"][0]["text"] == "sold"
    assert document["account"]["mode"] == "simulator"
    for secret in (account.api_secret.reveal(), account.access_token.reveal(), account.api_key):
        assert secret not in answer.content.decode()

    answer = client.get(f"/strategies/{strategy.pk}/")
    page = answer.content.decode()
    assert answer.headers["Refresh"] == "2"  # its exit goes on
    assert "Why did it exit?" in page
    assert "Asked for by trader; no stop was touched." in page
