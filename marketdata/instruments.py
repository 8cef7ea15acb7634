"""A broker's instrument list in memory: symbol to token and back, and what an order must fit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from marketdata.domain.errors import UnknownInstrument
from marketdata.domain.instruments import canonical
from marketdata.models import Instrument

_COLUMNS = ("exchange", "tradingsymbol", "token", "tick_size", "lot_size", "freeze_quantity")


@dataclass(frozen=True, slots=True)
class Terms:
    """What an order for an instrument must fit.

    Attributes:
        tick_size: Rupees between two valid prices.
        freeze_quantity: Largest quantity of one order; None when the list does not say.

    """

    tick_size: Decimal
    lot_size: int
    freeze_quantity: int | None


class InstrumentBook:
    """Implements ``ports.ContractBook``. A snapshot: load a new one after an import."""

    def __init__(self, broker: str, tokens: Mapping[str, str], terms: Mapping[str, Terms]) -> None:
        self.broker = broker
        self._tokens = tokens
        self._terms = terms
        self._symbols = {token: symbol for symbol, token in tokens.items() if token}

    @classmethod
    def load(cls, broker: str) -> InstrumentBook:
        """Read a broker's list with one query. Blocking."""
        rows = Instrument.objects.filter(broker=broker).values_list(*_COLUMNS)
        return cls.of(broker, rows.iterator(chunk_size=10_000))

    @classmethod
    def of(
        cls, broker: str, rows: Iterable[tuple[str, str, str, Decimal, int, int | None]]
    ) -> InstrumentBook:
        """Make one of rows ``(exchange, tradingsymbol, token, tick_size, lot_size, freeze_quantity)``."""
        tokens: dict[str, str] = {}
        terms: dict[str, Terms] = {}
        shared: dict[Terms, Terms] = {}  # a hundred thousand rows have a few hundred different terms
        for exchange, tradingsymbol, token, tick_size, lot_size, freeze_quantity in rows:
            symbol = canonical(exchange, tradingsymbol)
            tokens[symbol] = token
            mine = Terms(tick_size, lot_size, freeze_quantity)
            terms[symbol] = shared.setdefault(mine, mine)
        return cls(broker, tokens, terms)

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def symbols(self) -> Collection[str]:
        """All listed symbols."""
        return self._tokens.keys()

    def token(self, symbol: str) -> str:
        """Return the broker's token.

        Raises:
            UnknownInstrument: Not listed, or listed no longer and its token is another's now.

        """
        token = self._tokens.get(symbol)
        if not token:
            raise UnknownInstrument(
                f"{symbol} is not in the instrument list of {self.broker}: check the name, "
                f"or import the list of the day (import_instruments {self.broker})"
            )
        return token

    def symbol(self, token: str) -> str | None:
        """Return the symbol a token means today."""
        return self._symbols.get(token)

    def listed(self, symbols: Collection[str]) -> Collection[str]:
        return self.tokens_of(symbols).keys()

    def tokens_of(self, symbols: Collection[str]) -> Mapping[str, str]:
        return {symbol: token for symbol in symbols if (token := self._tokens.get(symbol))}

    def symbols_of(self, tokens: Collection[str]) -> Mapping[str, str]:
        return {token: self._symbols[token] for token in tokens if token in self._symbols}

    def tick_size(self, symbol: str) -> Decimal | None:
        """Return rupees between two valid prices; None for a symbol that is not listed."""
        terms = self._terms.get(symbol)
        return None if terms is None else terms.tick_size

    def terms(self, symbol: str) -> Terms:
        """Return tick size, lot size and freeze quantity; raises ``UnknownInstrument``."""
        self.token(symbol)
        return self._terms[symbol]
