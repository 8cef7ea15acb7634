"""One login at a broker is one account here: two rows would each sell the whole position."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import StateApps
from django.test import Client

from marketdata.models import BrokerAccount
from tests.support.people import new_user

BEFORE = [("marketdata", "0002_token_index")]
AFTER = [("marketdata", "0003_one_row_per_login")]


def row(user: User, client_id: str, broker: str = "zerodha") -> BrokerAccount:
    return BrokerAccount(user=user, broker=broker, client_id=client_id)


@pytest.mark.django_db
@pytest.mark.parametrize("client_id", ["AB1234", "ab1234"])
def test_the_database_takes_no_second_row(user: User, client_id: str) -> None:
    row(user, "AB1234").save()
    stranger = User.objects.create_user("stranger")
    with pytest.raises(IntegrityError):
        row(stranger, client_id).save()


@pytest.mark.django_db
def test_other_brokers_other_clients_and_rows_without_one_are_their_own(user: User) -> None:
    for client_id, broker in (("AB1234", "zerodha"), ("AB1234", "dhan"), ("CD1234", "zerodha")):
        row(user, client_id, broker).save()
    for _ in range(2):
        row(user, "").save()
    for account in BrokerAccount.objects.all():
        account.full_clean()


@pytest.mark.django_db
@pytest.mark.parametrize("client_id", ["AB1234", "ab1234", " AB1234 "])
def test_it_is_said_in_words(user: User, client_id: str) -> None:
    row(user, "AB1234").save()
    with pytest.raises(ValidationError) as caught:
        row(user, client_id).full_clean()
    (text,) = caught.value.message_dict.pop("client_id")
    assert not caught.value.message_dict.keys() - {"client_id"}
    assert f"Zerodha {client_id.strip()} is an account here already. Use that one, or delete it" in text


@pytest.mark.django_db
@pytest.mark.filterwarnings("ignore:No directory at")
def test_the_admin_says_it_at_the_field(client: Client, account: BrokerAccount) -> None:
    client.force_login(new_user("root", is_staff=True, is_superuser=True))
    fields = {
        "user": account.user_id,
        "broker": "zerodha",
        "client_id": account.client_id,
        "desired_state": "stopped",
    }
    answer = client.post("/admin/marketdata/brokeraccount/add/", fields)
    assert "is an account here already" in str(answer.context["adminform"].form.errors["client_id"])
    assert BrokerAccount.objects.count() == 1


@pytest.fixture
def old_apps(transactional_db: None) -> Iterator[StateApps]:
    """The tables as they were before; afterwards as they are."""
    before = MigrationExecutor(connection).migrate(BEFORE).apps
    yield before
    before.get_model("marketdata", "BrokerAccount").objects.all().delete()
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def test_a_database_that_has_two_is_told_which(old_apps: StateApps) -> None:
    owner = old_apps.get_model("auth", "User").objects.create(username="owner")
    accounts = old_apps.get_model("marketdata", "BrokerAccount").objects
    first, second = (
        accounts.create(user=owner, broker="dhan", client_id=name) for name in ("1100a", "1100A")
    )
    with pytest.raises(RuntimeError, match=f"accounts {first.pk} and {second.pk} are both dhan 1100A"):
        MigrationExecutor(connection).migrate(AFTER)
    second.delete()
    MigrationExecutor(connection).migrate(AFTER)
    assert accounts.count() == 1
