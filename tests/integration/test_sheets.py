"""Strategies and watch lists as CSV: what is imported is a draft that was fully validated."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from marketdata.models import BrokerAccount, Instrument, Subscription
from strategies import services
from strategies.live import watching
from strategies.models import Strategy
from strategies.sheets import MOST_ROWS
from tests.support.people import new_user

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]
STRATEGIES, WATCHED = "/admin/strategies/strategy/", "/admin/strategies/watchedinstrument/"
HEAD = "user,account,instrument,name,position,product,quantity,entry_price,stop_loss\n"
GOOD = "trader,DEMO01,NSE:INFY,Swing,BOUGHT,MIS,10,1500,1490.05\n"


@pytest.fixture(autouse=True)
def world(account: BrokerAccount, instruments: Mapping[str, Instrument]) -> None:
    """One user with one account, and instruments."""


def look(client: Client, text: str, where: str = STRATEGIES) -> str:
    """Choose a file; return the page that says what would be imported."""
    file = SimpleUploadedFile("rows.csv", text.encode(), "text/csv")
    answer = client.post(f"{where}import/", {"import_file": file, "format": "0", "resource": "0"})
    assert answer.status_code == 200
    return answer.content.decode()


def confirm(client: Client, page: str, where: str = STRATEGIES) -> str:
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)" id="id_', page))
    return client.post(f"{where}process_import/", hidden, follow=True).content.decode()


def test_what_is_imported_is_a_draft_of_the_person_named(admin_client: Client, user: User) -> None:
    text = HEAD.replace("user", "USER ") + GOOD + 'trader,,NSE:SBIN,Bank,sold,mis,5,,"1,020.00"\n'
    page = look(admin_client, text)
    assert "2 to be imported" in page
    assert not Strategy.objects.exists()

    assert "2 new" in confirm(admin_client, page)
    first, second = Strategy.objects.order_by("pk")
    assert (first.user, str(first.instrument), first.status, first.live) == (user, "NSE:INFY", "draft", False)
    assert (first.quantity, first.entry_price, first.stop_loss) == (10, Decimal(1500), Decimal("1490.05"))
    assert (second.position, second.account.client_id, second.stop_loss) == ("SOLD", "DEMO01", Decimal(1020))
    assert first.history.get().history_user.get_username() == "admin"
    assert not Subscription.objects.exists()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("trader,DEMO01,NSE:INFY,,BOUGHT,MIS,10,,1490.03\n", "use 1490 or 1490.05"),
        ("trader,DEMO01,NSE:INFY,,BOUGHT,MIS,0,,1490\n", "set it above 0"),
        ("trader,DEMO01,NSE:INFY,,BOUGHT,MIS,10,,\n", "A position needs a stop-loss"),
        ("trader,DEMO01,NSE:NONE,,BOUGHT,MIS,10,,1490\n", "is not in the instrument list"),
        ("trader,OTHER,NSE:INFY,,BOUGHT,MIS,10,,1490\n", "trader has no account called OTHER"),
        ("nobody,DEMO01,NSE:INFY,,BOUGHT,MIS,10,,1490\n", "There is no user nobody"),
        ("admin,DEMO01,NSE:INFY,,BOUGHT,MIS,10,,1490\n", "admin has no account called DEMO01"),
        ("trader,DEMO01,NSE:INFY,,LONG,MIS,ten,,1490\n", "LONG is not one of the available choices"),
    ],
)
def test_one_bad_row_is_named_and_nothing_is_imported(row: str, says: str, admin_client: Client) -> None:
    page = look(admin_client, HEAD + GOOD + row)
    assert says in page
    assert "Confirm import" not in page
    assert "process_import" not in page
    assert not Strategy.objects.exists()


def test_what_went_bad_since_it_was_looked_at_is_not_imported(admin_client: Client) -> None:
    page = look(admin_client, HEAD + GOOD)
    Instrument.objects.filter(tradingsymbol="INFY").update(tick_size=Decimal(1))
    said = confirm(admin_client, page)
    assert "The import has stopped. row 1: 1490.05 is between two ticks" in said
    assert not Strategy.objects.exists()

    page = look(admin_client, HEAD + GOOD.replace("1490.05", "1490"))
    cache.clear()
    assert "choose the file again" in confirm(admin_client, page)


def test_too_long_a_file_is_refused(admin_client: Client) -> None:
    assert f"import {MOST_ROWS} at a time" in look(admin_client, HEAD + GOOD * (MOST_ROWS + 1))
    assert "split it" in look(admin_client, HEAD + "x" * 600_000)


def test_what_is_exported_has_no_secret_and_no_formula_and_can_be_imported(
    admin_client: Client, user: User, account: BrokerAccount, instruments: Mapping[str, Instrument]
) -> None:
    for name in ("=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "plain"):
        services.create_strategy(
            Strategy(
                user=user, account=account, instrument=instruments["NSE:INFY"], name=name, position="BOUGHT",
                quantity=10, stop_loss=Decimal("1490.05"),
            )
        )  # fmt: skip
    answer = admin_client.get(f"{STRATEGIES}export/?q=INFY")
    text = answer.content.decode()
    assert answer.headers["Content-Type"] == "text/csv"
    assert not any(secret in text for secret in (account.api_secret.reveal(), account.access_token.reveal()))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["name"] for row in rows} == {"'=HYPERLINK(1)", "'+1", "'-1", "'@x", "'\tx", "plain"}
    assert {(row["user"], row["account"], row["stop_loss"]) for row in rows} == {
        ("trader", "DEMO01", "1490.05")
    }

    confirm(admin_client, look(admin_client, text))
    assert Strategy.objects.filter(name="=HYPERLINK(1)", status="draft").count() == 2


def test_watch_lists_go_out_and_come_in(admin_client: Client, user: User) -> None:
    watching.watch(user.pk, ["NSE:INFY"])
    text = admin_client.get(f"{WATCHED}export/").content.decode()
    assert text.split() == ["user,instrument", "trader,NSE:INFY"]

    page = look(admin_client, text + "trader,nse:sbin\r\n", WATCHED)
    assert "2 to be imported" in page
    assert Subscription.objects.count() == 1
    confirm(admin_client, page, WATCHED)
    assert set(Subscription.objects.values_list("instrument__tradingsymbol", "holder")) == {
        ("INFY", f"watch:{user.pk}"),
        ("SBIN", f"watch:{user.pk}"),
    }
    assert "check the spelling" in look(admin_client, text + "trader,NSE:NONE\r\n", WATCHED)


def test_import_and_export_each_need_their_permission(client: Client) -> None:
    person = new_user("staff", is_staff=True)
    client.force_login(person)
    for where in (STRATEGIES, WATCHED):
        for way in ("import/", "export/"):
            assert client.get(where + way).status_code == 403
        assert client.post(f"{where}process_import/").status_code == 403

    person.user_permissions.set(Permission.objects.filter(codename="view_strategy"))
    page = client.get(STRATEGIES).content.decode()
    assert ("export/" in page, "import/" in page) == (True, False)
    assert client.get(f"{STRATEGIES}export/").status_code == 200
    assert client.get(f"{STRATEGIES}import/").status_code == 403
