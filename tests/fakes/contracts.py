"""A contract book of a few contracts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal

from marketdata.domain.errors import UnknownInstrument


class ListedContracts:
    """Implements ``ports.ContractBook`` on a mapping of symbol to token."""

    def __init__(self, tokens: Mapping[str, str] | None = None) -> None:
        self._tokens = dict(tokens or {})
        self._symbols = {token: symbol for symbol, token in self._tokens.items()}

    def token(self, symbol: str) -> str:
        try:
            return self._tokens[symbol]
        except KeyError:
            raise UnknownInstrument(symbol) from None

    def symbol(self, token: str) -> str | None:
        return self._symbols.get(token)

    def listed(self, symbols: Collection[str]) -> Collection[str]:
        return self.tokens_of(symbols).keys()

    def tokens_of(self, symbols: Collection[str]) -> Mapping[str, str]:
        return {symbol: self._tokens[symbol] for symbol in symbols if symbol in self._tokens}

    def symbols_of(self, tokens: Collection[str]) -> Mapping[str, str]:
        return {token: self._symbols[token] for token in tokens if token in self._symbols}

    def tick_size(self, symbol: str) -> Decimal | None:
        return None
