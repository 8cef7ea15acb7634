"""Tokens looked up in the instrument list one by one, for work that needs few of them."""

from __future__ import annotations

from decimal import Decimal

from marketdata.database import db_unit
from marketdata.models import Instrument
from marketdata.wanted import read_tokens


class DatabaseTokens:
    """Implements ``ports.Tokens`` on the table itself. Blocks: for worker threads only."""

    def __init__(self, broker: str) -> None:
        self._broker = broker

    def token(self, symbol: str) -> str:
        """Return the broker's token; raises ``UnknownInstrument``."""
        return db_unit(read_tokens, self._broker, [symbol])[symbol]

    def symbol(self, token: str) -> str | None:
        return db_unit(self._symbol, token)

    def tick_size(self, symbol: str) -> Decimal | None:
        return db_unit(self._tick_size, symbol)

    def _tick_size(self, symbol: str) -> Decimal | None:
        exchange, _, name = symbol.partition(":")
        row = Instrument.objects.filter(broker=self._broker, exchange=exchange, tradingsymbol=name).first()
        return None if row is None else row.tick_size

    def _symbol(self, token: str) -> str | None:
        row = Instrument.objects.filter(broker=self._broker, token=token).first()
        return None if row is None else row.symbol
