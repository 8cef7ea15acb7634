"""Dhan's own numbers for what the exchange lists: a segment, and an id that only the segment makes unique."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from marketdata.simulator.instrument import Instrument

SEGMENTS = {
    "IDX_I": 0, "NSE_EQ": 1, "NSE_FNO": 2, "NSE_CURRENCY": 3, "BSE_EQ": 4, "MCX_COMM": 5,
    "BSE_CURRENCY": 7, "BSE_FNO": 8,
}  # fmt: skip
_SEGMENT = {
    "NSE": "NSE_EQ", "BSE": "BSE_EQ", "NFO": "NSE_FNO", "BFO": "BSE_FNO", "CDS": "NSE_CURRENCY",
    "BCD": "BSE_CURRENCY", "MCX": "MCX_COMM",
}  # fmt: skip
# Derivatives are numbered afresh in each segment. Currency ids run through those of shares, as the
# real ones do: whoever forgets the segment mistakes one for the other.
_FIRST_ID = {
    "NSE_FNO": 35_001, "NSE_CURRENCY": 2_880, "BSE_FNO": 825_001, "BSE_CURRENCY": 1_026_001,
    "MCX_COMM": 35_001,
}  # fmt: skip


class Index(NamedTuple):
    """What Dhan calls an index."""

    security_id: int
    symbol: str
    label: str


INDICES = {
    "NSE:NIFTY 50": Index(13, "NIFTY", "Nifty 50"),
    "NSE:NIFTY BANK": Index(25, "BANKNIFTY", "Nifty Bank"),
    "NSE:NIFTY FIN SERVICE": Index(27, "FINNIFTY", "Finnifty"),
    "NSE:NIFTY MID SELECT": Index(442, "MIDCPNIFTY", "Nifty Midcap Select"),
    "NSE:NIFTY IT": Index(29, "NIFTYIT", "Nifty IT"),
    "NSE:NIFTY NEXT 50": Index(38, "NIFTYNXT50", "Nifty Next 50"),
    "NSE:INDIA VIX": Index(21, "INDIA VIX", "India VIX"),
    "BSE:SENSEX": Index(51, "SENSEX", "Sensex"),
    "BSE:BANKEX": Index(69, "BANKEX", "BSE BANKEX"),
}


class Security(NamedTuple):
    """How Dhan names one instrument."""

    segment: str
    security_id: int


class Catalogue:
    """Symbols and securities, in both directions."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self.by_symbol: dict[str, Security] = {}
        issued: Counter[str] = Counter()
        for item in instruments:
            self.by_symbol[item.symbol] = _security(item, issued)
        self.symbols = {security: symbol for symbol, security in self.by_symbol.items()}

    def symbol(self, segment: object, security_id: object) -> str | None:
        """Return what a request names; None for anything else, an id that is not a text among it."""
        if not isinstance(segment, str) or not isinstance(security_id, str) or not security_id.isdecimal():
            return None
        return self.symbols.get(Security(segment, int(security_id)))


def _security(item: Instrument, issued: Counter[str]) -> Security:
    contract = item.listing.contract
    if item.listing.is_index:
        return Security("IDX_I", INDICES[item.symbol].security_id)
    segment = _SEGMENT[contract.exchange]
    if segment not in _FIRST_ID:
        return Security(segment, int(contract.token))
    issued[segment] += 1
    return Security(segment, _FIRST_ID[segment] + issued[segment] - 1)
