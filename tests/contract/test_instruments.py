"""Every broker's instrument list, from its API into the table and back out of memory."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from marketdata.domain.errors import BadReply, BrokerError, BrokerUnavailable
from marketdata.instruments import InstrumentBook
from marketdata.models import BrokerAccount, Instrument
from marketdata.ports import BrokerAdapter, BrokerConfig
from marketdata.simulator.control import SimulatorControl


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_the_list_covers_the_exchanges(adapter: BrokerAdapter) -> None:
    lines = adapter.instruments.download(None).splitlines(keepends=True)
    contracts = list(adapter.instruments.contracts(lines))
    assert len(contracts) >= 2000
    assert {"NSE", "BSE", "NFO", "CDS", "MCX"} <= Counter(contract.exchange for contract in contracts).keys()
    assert {"EQ", "INDEX", "FUT", "CE", "PE"} == {contract.instrument_type for contract in contracts}
    for contract in contracts:
        assert contract.lot_size >= 1
        assert contract.tick_size > 0
        assert (contract.strike is not None) == (contract.instrument_type in ("CE", "PE"))


def test_the_same_with_a_login(adapter: BrokerAdapter, config: BrokerConfig) -> None:
    assert adapter.instruments.download(config) == adapter.instruments.download(None)


@pytest.mark.parametrize(
    ("fault", "options", "kind"),
    [
        ("html", {"status": 200}, BadReply),
        ("html", {"status": 502}, BrokerUnavailable),
        ("server_error", {}, BrokerUnavailable),
        ("cut_before", {}, BrokerUnavailable),
    ],
)
def test_what_is_no_list_is_refused(
    adapter: BrokerAdapter,
    control: SimulatorControl,
    fault: str,
    options: dict[str, Any],
    kind: type[BrokerError],
) -> None:
    control.fault(fault, operation="instruments", **options)
    with pytest.raises(kind):
        adapter.instruments.download(None)


@pytest.mark.django_db
def test_from_the_api_into_the_table(broker: str, config: BrokerConfig, user: User) -> None:
    row = BrokerAccount.objects.create(
        user=user, broker=broker, api_key=config.api_key, access_token=config.access_token.reveal()
    )
    out = StringIO()
    call_command("import_instruments", broker, account=row.pk, stdout=out)
    assert "added" in out.getvalue()
    book = InstrumentBook.load(broker)
    assert len(book) == Instrument.objects.count() >= 2000
    assert book.symbol(book.token("NSE:INFY")) == "NSE:INFY"
    assert book.terms("NSE:INFY").tick_size > Decimal(0)


@pytest.mark.django_db
def test_a_terminal_sees_a_bar(broker: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = Terminal()
    call_command("import_instruments", broker, stdout=out)
    assert "rows" not in out.getvalue()
    assert "instruments listed" in out.getvalue()
    assert "written" in capsys.readouterr().out


@pytest.mark.django_db
def test_a_download_that_fails_changes_nothing(broker: str, control: SimulatorControl) -> None:
    call_command("import_instruments", broker, stdout=StringIO())
    before = set(Instrument.objects.values_list("pk", "token"))
    control.fault("cut_before", operation="instruments")
    with pytest.raises(CommandError) as caught:
        call_command("import_instruments", broker, stdout=StringIO())
    assert caught.value.returncode == 1
    assert set(Instrument.objects.values_list("pk", "token")) == before
