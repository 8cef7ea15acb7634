"""Tokens looked up in the instrument list one by one, for work that needs few of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal

from django.db.models import QuerySet

from marketdata.clock import SystemClock
from marketdata.database import db_unit
from marketdata.domain.instruments import canonical
from marketdata.models import Instrument
from marketdata.wanted import read_tokens

_monotonic = SystemClock().monotonic
_NEVER = (None, float("-inf"))
LISTED_FOR_S, UNLISTED_FOR_S = 60.0, 5.0
"""How long what was found, and what was not, is taken to be so: lists change once a day, at an import."""


class _Recent:
    """What a list said lately, by name."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._said: dict[str, tuple[str | None, float]] = {}  # what it is, and until when that counts

    def of(
        self, names: Collection[str], find: Callable[[Collection[str]], Mapping[str, str]]
    ) -> Mapping[str, str]:
        """Return those of ``names`` that are listed; ``find`` is asked for those not asked for lately."""
        now = self._monotonic()
        if old := [name for name in names if self._said.get(name, _NEVER)[1] <= now]:
            listed = db_unit(find, old)
            for name in old:
                lasts_s = LISTED_FOR_S if name in listed else UNLISTED_FOR_S
                self._said[name] = (listed.get(name), now + lasts_s)
        said = ((name, self._said[name][0]) for name in names)
        return {name: found for name, found in said if found is not None}


class DatabaseTokens:
    """Implements ``ports.ContractBook`` on the table itself. Blocks: for worker threads only."""

    def __init__(self, broker: str, monotonic: Callable[[], float] = _monotonic) -> None:
        self._broker = broker
        self._tokens, self._symbols = _Recent(monotonic), _Recent(monotonic)

    def token(self, symbol: str) -> str:
        """Return the broker's token; raises ``UnknownInstrument``."""
        return db_unit(read_tokens, self._broker, [symbol])[symbol]

    def symbol(self, token: str) -> str | None:
        return db_unit(self._symbol, token)

    def tokens_of(self, symbols: Collection[str]) -> Mapping[str, str]:
        return self._tokens.of(symbols, self._tokens_of)

    def symbols_of(self, tokens: Collection[str]) -> Mapping[str, str]:
        return self._symbols.of(tokens, self._symbols_of)

    def _tokens_of(self, symbols: Collection[str]) -> Mapping[str, str]:
        wanted = set(symbols)
        names = [symbol.partition(":")[2] for symbol in wanted]
        rows = self._rows(tradingsymbol__in=names).values_list("exchange", "tradingsymbol", "token")
        found = {canonical(exchange, name): token for exchange, name, token in rows if token}
        return {symbol: token for symbol, token in found.items() if symbol in wanted}

    def _symbols_of(self, tokens: Collection[str]) -> Mapping[str, str]:
        return {row.token: row.symbol for row in self._rows(token__in=list(tokens))}

    def _rows(self, **named: list[str]) -> QuerySet[Instrument]:
        return Instrument.objects.filter(broker=self._broker, **named)

    def tick_size(self, symbol: str) -> Decimal | None:
        return db_unit(self._tick_size, symbol)

    def _tick_size(self, symbol: str) -> Decimal | None:
        exchange, _, name = symbol.partition(":")
        row = Instrument.objects.filter(broker=self._broker, exchange=exchange, tradingsymbol=name).first()
        return None if row is None else row.tick_size

    def _symbol(self, token: str) -> str | None:
        row = Instrument.objects.filter(broker=self._broker, token=token).first()
        return None if row is None else row.symbol
