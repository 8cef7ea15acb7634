"""Symbol to token and back, from memory."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketdata.domain.errors import UnknownInstrument
from marketdata.instruments import InstrumentBook, Terms

BOOK = InstrumentBook.of(
    "zerodha",
    [
        ("NSE", "INFY", "408065", Decimal("0.05"), 1, None),
        ("NFO", "NIFTY26NOVFUT", "77", Decimal("0.1"), 75, 1800),
        ("NFO", "NIFTY26OCTFUT", "", Decimal("0.1"), 75, 1800),
    ],
)


def test_both_ways() -> None:
    assert BOOK.token("NSE:INFY") == "408065"
    assert BOOK.symbol("408065") == "NSE:INFY"
    assert BOOK.symbol("1") is None
    assert len(BOOK) == 3


def test_terms_of_an_order() -> None:
    assert BOOK.terms("NFO:NIFTY26NOVFUT") == Terms(Decimal("0.1"), 75, 1800)


@pytest.mark.parametrize("symbol", ["NSE:NOPE", "NFO:NIFTY26OCTFUT"])
def test_not_listed_says_what_to_do(symbol: str) -> None:
    with pytest.raises(UnknownInstrument, match=f"{symbol} is not in .*import_instruments zerodha"):
        BOOK.token(symbol)
    with pytest.raises(UnknownInstrument):
        BOOK.terms(symbol)


def test_an_empty_token_means_nobody() -> None:
    assert BOOK.symbol("") is None
