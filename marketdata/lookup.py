"""Tokens looked up in the instrument list one by one, for work that needs few of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import ParamSpec, Protocol, TypeVar

from django.db.models import QuerySet

from marketdata.clock import SystemClock
from marketdata.database import db_unit
from marketdata.domain.instruments import canonical
from marketdata.models import Instrument
from marketdata.wanted import read_tokens

P = ParamSpec("P")
T = TypeVar("T")

_monotonic = SystemClock().monotonic
_NEVER = (False, float("-inf"))
LISTED_FOR_S, UNLISTED_FOR_S = 600.0, 5.0
"""How long a name counts as listed after it was, and as not listed after it was not."""


class Run(Protocol):
    """Runs a unit of database work and returns what it returns."""

    def __call__(self, unit: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


class DatabaseTokens:
    """Implements ``ports.ContractBook`` on the table itself. Blocks: for worker threads only.

    Args:
        broker: Whose list.
        run: Where the database is asked; unless told, in the thread that asks, which then has a connection of its own.
        monotonic: For how long an answer counts.

    """

    def __init__(
        self, broker: str, run: Run = db_unit, *, monotonic: Callable[[], float] = _monotonic
    ) -> None:
        self._broker = broker
        self._run = run
        self._monotonic = monotonic
        # Whether a name is listed, and until when that counts.
        self._listed: dict[str, tuple[bool, float]] = {}

    def token(self, symbol: str) -> str:
        """Return the broker's token; raises ``UnknownInstrument``."""
        return self._run(read_tokens, self._broker, [symbol])[symbol]

    def symbol(self, token: str) -> str | None:
        return self._run(self._symbol, token)

    def listed(self, symbols: Collection[str]) -> Collection[str]:
        """Return those that are in the list, or were minutes ago."""
        now = self._monotonic()
        if old := [name for name in symbols if self._listed.get(name, _NEVER)[1] <= now]:
            found = self.tokens_of(old)
            lasts_s = {True: LISTED_FOR_S, False: UNLISTED_FOR_S}
            self._listed.update({name: (name in found, now + lasts_s[name in found]) for name in old})
        return {name for name in symbols if self._listed[name][0]}

    def tokens_of(self, symbols: Collection[str]) -> Mapping[str, str]:
        return self._run(self._tokens_of, symbols)

    def symbols_of(self, tokens: Collection[str]) -> Mapping[str, str]:
        return self._run(self._symbols_of, tokens) if tokens else {}

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
        return self._run(self._tick_size, symbol)

    def _tick_size(self, symbol: str) -> Decimal | None:
        exchange, _, name = symbol.partition(":")
        row = Instrument.objects.filter(broker=self._broker, exchange=exchange, tradingsymbol=name).first()
        return None if row is None else row.tick_size

    def _symbol(self, token: str) -> str | None:
        row = Instrument.objects.filter(broker=self._broker, token=token).first()
        return None if row is None else row.symbol
