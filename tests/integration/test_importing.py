"""The list of the day into the table: all of it or nothing, fast, and never a stop's instrument lost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketdata.brokers.zerodha.instruments import COLUMNS
from marketdata.domain.errors import BadReply, UnknownInstrument
from marketdata.domain.instruments import Contract
from marketdata.importing import Imported, import_contracts
from marketdata.instruments import InstrumentBook, Terms
from marketdata.models import BrokerAccount, Instrument, Subscription
from tests.support.processes import manage

pytestmark = pytest.mark.django_db
RECORDED = Path(__file__).parents[1] / "data" / "zerodha" / "rest" / "instruments.csv"
DHAN_RECORDED = RECORDED.parents[2] / "dhan" / "rest" / "scrip_master.csv"
PAISA = Decimal("0.05")


def equity(name: str, token: int, **changes: Any) -> Contract:
    return replace(Contract("NSE", name, str(token), name.title(), "EQ", 1, PAISA), **changes)


ABC = [equity("AAA", 1), equity("BBB", 2), equity("CCC", 3)]


def table() -> dict[str, str]:
    return {row.symbol: row.token for row in Instrument.objects.all()}


def test_a_first_import_stores_every_column() -> None:
    option = Contract(
        "NFO", "NIFTY26NOV24000CE", "9", "NIFTY", "CE", 75, PAISA, date(2026, 11, 26), Decimal(24000), 1800
    )
    assert import_contracts("zerodha", [*ABC, option]) == Imported(4, 4, 0, 0, 0)
    row = Instrument.objects.get(tradingsymbol=option.tradingsymbol)
    stored = Contract(
        row.exchange, row.tradingsymbol, row.token, row.name, row.instrument_type, row.lot_size, row.tick_size,
        row.expiry, row.strike, row.freeze_quantity,
    )  # fmt: skip
    assert stored == option


def test_rows_keep_their_keys_and_only_differences_are_written() -> None:
    import_contracts("zerodha", ABC)
    keys = dict(Instrument.objects.values_list("tradingsymbol", "pk"))
    changed = [replace(ABC[0], token="77"), *ABC[1:]]
    assert import_contracts("zerodha", changed) == Imported(3, 0, 1, 0, 0)
    assert dict(Instrument.objects.values_list("tradingsymbol", "pk")) == keys
    assert table()["NSE:AAA"] == "77"
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert import_contracts("zerodha", changed) == Imported(3, 0, 0, 0, 0)
    assert not [query for query in queries if "INSERT" in query["sql"]]


def test_what_is_listed_no_longer_goes_unless_something_refers_to_it(account: BrokerAccount) -> None:
    import_contracts("zerodha", ABC)
    held = Instrument.objects.get(tradingsymbol="AAA")
    Subscription.objects.create(account=account, instrument=held, holder="strategy:1")
    assert import_contracts("zerodha", ABC[2:], force=True) == Imported(1, 0, 0, 1, 1)
    assert table() == {"NSE:AAA": "1", "NSE:CCC": "3"}


def test_a_strategy_too_keeps_its_instrument(account: BrokerAccount) -> None:
    from strategies.models import Strategy

    import_contracts("zerodha", ABC)
    held = Instrument.objects.get(tradingsymbol="BBB")
    Strategy.objects.create(user=account.user, account=account, instrument=held)
    import_contracts("zerodha", [ABC[0], ABC[2]])
    assert "NSE:BBB" in table()


def test_a_token_that_was_given_to_another_is_taken_from_the_old_one(account: BrokerAccount) -> None:
    import_contracts("zerodha", ABC)
    held = Instrument.objects.get(tradingsymbol="AAA")
    Subscription.objects.create(account=account, instrument=held, holder="strategy:1")
    import_contracts("zerodha", [*ABC[1:], equity("NEW", 1)])
    book = InstrumentBook.load("zerodha")
    assert book.symbol("1") == "NSE:NEW"
    with pytest.raises(UnknownInstrument):
        book.token("NSE:AAA")


def test_a_freeze_quantity_the_list_does_not_know_is_kept() -> None:
    import_contracts("zerodha", ABC)
    Instrument.objects.filter(tradingsymbol="AAA").update(freeze_quantity=1800)
    import_contracts("zerodha", [replace(ABC[0], lot_size=5), *ABC[1:]])
    assert InstrumentBook.load("zerodha").terms("NSE:AAA") == Terms(PAISA, 5, 1800)


def test_other_brokers_rows_are_left_alone() -> None:
    import_contracts("dhan", ABC)
    import_contracts("zerodha", ABC[:1])
    assert Instrument.objects.filter(broker="dhan").count() == 3


@pytest.mark.parametrize(
    ("contracts", "complaint"),
    [
        ([], "is empty; the 3 stored rows are untouched"),
        (ABC[:1], "has 1 rows and 3 are stored: less than half.*--force"),
        ([*ABC, equity("AAA", 9)], "NSE:AAA is listed twice, as 1 and 9"),
    ],
)
def test_a_list_that_cannot_be_right_changes_nothing(contracts: Sequence[Contract], complaint: str) -> None:
    import_contracts("zerodha", ABC)
    before = table()
    with pytest.raises(BadReply, match=complaint):
        import_contracts("zerodha", contracts)
    assert table() == before


def test_a_failure_in_the_middle_changes_nothing() -> None:
    import_contracts("zerodha", ABC)
    before = table()

    def broken() -> Any:
        yield from [equity(f"X{number}", 100 + number) for number in range(10)]
        raise BadReply("line 12: cut off")

    with pytest.raises(BadReply, match="line 12"):
        import_contracts("zerodha", broken())
    assert table() == before


def csv_of(rows: int) -> str:
    lines = [",".join(COLUMNS)]
    for number in range(rows):
        token = (number + 1) * 256 + 2
        lines.append(
            f"{token},{number},NIFTY26N{number}CE,NIFTY,0.0,2026-11-26,{20000 + number % 400 * 50}.0,"
            "0.05,75,CE,NFO-OPT,NFO"
        )
    return "\n".join(lines) + "\n"


def test_a_hundred_and_twenty_thousand_rows_in_time(tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    file.write_text(csv_of(120_000))
    began = time.process_time()  # not the clock on the wall: other tests may use the machine
    with (tmp_path / "out").open("w") as out:
        call_command("import_instruments", "zerodha", file=file, stdout=out)
    took = time.process_time() - began
    assert Instrument.objects.count() == 120_000
    assert took < 10


def test_the_recorded_list_from_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("import_instruments", "zerodha", file=RECORDED)
    out = capsys.readouterr().out
    assert "read 39 rows" in out
    assert "39 instruments listed; 39 added" in out
    assert len(InstrumentBook.load("zerodha")) == 39


def test_rows_without_a_name_of_ours_are_counted_by_reason(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("import_instruments", "dhan", file=DHAN_RECORDED)
    out = capsys.readouterr().out
    assert "121 instruments listed; 121 added" in out
    assert "left out 141 rows: index without a name of ours" in out
    assert InstrumentBook.load("dhan").token("NSE:RELIANCE") == "NSE_EQ:2885"


def test_a_list_without_any_name_of_ours_changes_nothing_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = DHAN_RECORDED.read_text().splitlines()
    file = tmp_path / "list.csv"
    file.write_text("\n".join((header, *(row for row in rows if ",BSEDSI," in row), "")))
    with pytest.raises(CommandError, match="is empty") as caught:
        call_command("import_instruments", "dhan", file=file)
    assert caught.value.returncode == 1
    assert "left out 1 rows: index without a name of ours" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "<html>Sorry</html>", ",".join(COLUMNS) + "\n"])
def test_something_else_than_a_list_exits_1_and_changes_nothing(text: str, tmp_path: Path) -> None:
    import_contracts("zerodha", ABC)
    file = tmp_path / "list.csv"
    file.write_text(text)
    with pytest.raises(CommandError) as caught:
        call_command("import_instruments", "zerodha", file=file)
    assert caught.value.returncode == 1
    assert len(table()) == 3


def test_a_download_that_fails_exits_1_and_changes_nothing() -> None:
    import_contracts("zerodha", ABC)
    with pytest.raises(CommandError, match="no answer") as caught:  # the tests' endpoints lead nowhere
        call_command("import_instruments", "zerodha")
    assert caught.value.returncode == 1
    assert len(table()) == 3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"account": 999}, "--account 999: there is no such account"),
        ({"file": Path("/nowhere.csv")}, "--file /nowhere.csv: No such file"),
    ],
)
def test_arguments_that_make_no_sense_exit_2(options: Mapping[str, Any], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint) as caught:
        call_command("import_instruments", "zerodha", **options)
    assert caught.value.returncode == 2


def test_an_account_elsewhere_exits_2(account: BrokerAccount) -> None:
    BrokerAccount.objects.update(broker="dhan")
    with pytest.raises(CommandError, match="is an account at dhan") as caught:
        call_command("import_instruments", "zerodha", account=account.pk)
    assert caught.value.returncode == 2


def test_an_unknown_broker_exits_2_and_says_which_there_are() -> None:
    with manage("import_instruments", "nobody") as process:
        assert process.wait() == 2
        assert "invalid choice: 'nobody' (choose from 'zerodha'" in process.output
