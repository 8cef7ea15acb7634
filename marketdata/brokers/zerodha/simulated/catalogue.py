"""Kite's own numbers for what the exchange lists, and its instrument dump."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator

from marketdata.domain.prices import UNITS_PER_RUPEE
from marketdata.simulator.exchange import Exchange
from marketdata.simulator.instrument import Instrument

_SEGMENTS = {"NSE": 1, "NFO": 2, "CDS": 3, "BSE": 4, "BFO": 5, "BCD": 6, "MCX": 7}
_INDICES = 9
_PER_RUPEE = {3: 10_000_000, 6: 10_000}  # everything else in paise
_HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,"
    "instrument_type,segment,exchange"
)


def token_of(instrument: Instrument) -> int:
    """Return Kite's token: the exchange's code and, in the last byte, the segment."""
    return int(instrument.listing.contract.token) * 256 + _segment(instrument)


def units_per_step(token: int) -> int:
    """Return how many of our units one of the feed's price steps is worth."""
    return UNITS_PER_RUPEE // _PER_RUPEE.get(token & 0xFF, 100)


def _segment(instrument: Instrument) -> int:
    return _INDICES if instrument.listing.is_index else _SEGMENTS[instrument.listing.contract.exchange]


class Catalogue:
    """Tokens in both directions, and the dump per exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._instruments = exchange.instruments
        self.token_by_symbol = {symbol: token_of(item) for symbol, item in exchange.instruments.items()}
        self.symbol_by_token = {token: symbol for symbol, token in self.token_by_symbol.items()}
        self._dumps: dict[str, bytes] = {}

    def dump(self, exchange: str = "") -> bytes:
        """Return the gzipped CSV of one exchange, or of all."""
        if exchange not in self._dumps:
            chosen = [
                item
                for item in self._instruments.values()
                if exchange in ("", item.listing.contract.exchange)
            ]
            self._dumps[exchange] = gzip.compress(
                "\n".join(_lines(chosen)).encode(), compresslevel=1, mtime=0
            )
        return self._dumps[exchange]

    def exchanges(self) -> set[str]:
        return {item.listing.contract.exchange for item in self._instruments.values()}


def _lines(instruments: Iterable[Instrument]) -> Iterator[str]:
    yield _HEADER
    for instrument in instruments:
        contract = instrument.listing.contract
        # The real dump has nothing tradable about an index: type EQ, no tick, no lot.
        index = instrument.listing.is_index
        yield ",".join(
            (
                str(token_of(instrument)), contract.token, contract.tradingsymbol, f'"{contract.name}"', "0",
                contract.expiry.isoformat() if contract.expiry else "", f"{contract.strike or 0}",
                "0" if index else f"{contract.tick_size}", str(contract.lot_size),
                "EQ" if index else contract.instrument_type, _segment_name(instrument), contract.exchange,
            )
        )  # fmt: skip
    yield ""


def _segment_name(instrument: Instrument) -> str:
    contract = instrument.listing.contract
    if instrument.listing.is_index:
        return "INDICES"
    suffix = {"FUT": "-FUT", "CE": "-OPT", "PE": "-OPT"}.get(contract.instrument_type, "")
    return contract.exchange + suffix
