"""Contracts looked up one by one and many at once: the same answers from the table and from memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from marketdata.domain.errors import UnknownInstrument
from marketdata.instruments import InstrumentBook
from marketdata.lookup import LISTED_FOR_S, UNLISTED_FOR_S, DatabaseTokens
from marketdata.models import Instrument
from marketdata.ports import ContractBook

pytestmark = pytest.mark.django_db(transaction=True)
MAKERS: list[Callable[[str], ContractBook]] = [DatabaseTokens, InstrumentBook.load]


@pytest.fixture(params=MAKERS, ids=["table", "memory"])
def contracts(request: pytest.FixtureRequest) -> ContractBook:
    for broker, exchange, name, token in (
        ("dhan", "NSE", "SBIN", "NSE_EQ:3045"),
        ("dhan", "BSE", "SBIN", "BSE_EQ:500112"),
        ("dhan", "NSE", "GONE", ""),  # listed no longer, and its token is another's
        ("zerodha", "NSE", "INFY", "408065"),
    ):
        Instrument.objects.create(broker=broker, exchange=exchange, tradingsymbol=name, token=token)
    made: ContractBook = request.param("dhan")
    return made


def test_many_at_once_and_what_is_not_listed_is_absent(contracts: ContractBook) -> None:
    asked = ["NSE:SBIN", "BSE:SBIN", "NSE:INFY", "NSE:GONE", "NSE:NOSUCH"]
    assert contracts.tokens_of(asked) == {"NSE:SBIN": "NSE_EQ:3045", "BSE:SBIN": "BSE_EQ:500112"}
    assert contracts.tokens_of(["BSE:SBIN"]) == {"BSE:SBIN": "BSE_EQ:500112"}
    assert contracts.symbols_of(["NSE_EQ:3045", "408065", "NSE_EQ:1"]) == {"NSE_EQ:3045": "NSE:SBIN"}
    assert contracts.tokens_of([]) == contracts.symbols_of([]) == {}


def test_one_by_one(contracts: ContractBook) -> None:
    assert contracts.token("NSE:SBIN") == "NSE_EQ:3045"
    assert contracts.symbol("BSE_EQ:500112") == "BSE:SBIN"
    assert contracts.symbol("408065") is None
    with pytest.raises(UnknownInstrument, match="NSE:INFY"):
        contracts.token("NSE:INFY")


def test_what_is_listed(contracts: ContractBook) -> None:
    assert set(contracts.listed(["NSE:SBIN", "NSE:GONE", "NSE:NOSUCH"])) == {"NSE:SBIN"}
    assert set(contracts.listed([])) == set()


def test_the_table_is_asked_again_when_its_answer_is_old() -> None:
    now = [0.0]
    Instrument.objects.create(broker="dhan", exchange="NSE", tradingsymbol="SBIN", token="1")
    contracts = DatabaseTokens("dhan", monotonic=lambda: now[0])
    assert contracts.listed(["NSE:SBIN", "NSE:NEW"]) == {"NSE:SBIN"}
    Instrument.objects.update(token="")
    Instrument.objects.create(broker="dhan", exchange="NSE", tradingsymbol="NEW", token="3")
    assert contracts.listed(["NSE:SBIN", "NSE:NEW"]) == {"NSE:SBIN"}
    assert contracts.tokens_of(["NSE:SBIN", "NSE:NEW"]) == {"NSE:NEW": "3"}, "tokens are never old"
    now[0] += UNLISTED_FOR_S
    assert contracts.listed(["NSE:SBIN", "NSE:NEW"]) == {"NSE:SBIN", "NSE:NEW"}
    now[0] = LISTED_FOR_S
    assert contracts.listed(["NSE:SBIN"]) == set()
