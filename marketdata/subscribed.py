"""What one listener wants, and what its present connection carries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

from marketdata.domain.errors import UnknownInstrument
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.ports import Tokens

WireToken: TypeAlias = Any
"""A broker's token in the form in which its frames carry it: hashable, each broker's own type."""


class Subscribed:
    """Symbols and modes that are wanted, and the tokens by which frames name them.

    Attributes:
        modes: Mode by wanted symbol.
        symbols: Symbol by wire token, of the present connection. Tokens are looked up anew
            for every connection, because brokers reuse them.

    """

    def __init__(self, tokens: Tokens, wire_token: Callable[[str], WireToken], limit: int | None) -> None:
        self._tokens = tokens
        self._limit = limit
        self._wire_token = wire_token
        self._unseen: set[str] = set()
        self.version = 0  # rises whenever what is wanted changes, or is asked for anew
        self.modes: dict[str, FeedMode] = {}
        self.symbols: dict[WireToken, str] = {}

    def want(self, symbols: Sequence[str], mode: FeedMode) -> tuple[list[WireToken], list[WireToken]]:
        """Want ``symbols`` in ``mode``; return the tokens that are new and those that change mode.

        Raises:
            UnknownInstrument: One has no token. Nothing was changed.
            ValueError: More than one connection carries. Nothing was changed.

        """
        found = {symbol: self._resolve(symbol) for symbol in symbols}
        changed = [symbol for symbol in found if self.modes.get(symbol, mode) is not mode]
        added = [symbol for symbol in found if symbol not in self.modes]
        if self._limit is not None and len(self.modes) + len(added) > self._limit:
            raise ValueError(
                f"{len(self.modes) + len(added)} instruments: one connection carries {self._limit}; watch fewer"
            )
        self.version += 1
        for symbol in (*added, *changed):
            self.modes[symbol] = mode
            self.symbols[found[symbol]] = symbol
            self._unseen.add(symbol)
        return [found[symbol] for symbol in added], [found[symbol] for symbol in changed]

    def again(self, symbols: Iterable[str]) -> dict[FeedMode, list[WireToken]]:
        """Return by mode the tokens that the connection carries for ``symbols``: they are to be answered anew."""
        asked = {symbol for symbol in symbols if symbol in self.modes}
        self._unseen |= asked
        self.version += 1
        found: dict[FeedMode, list[WireToken]] = {}
        for token, symbol in self.symbols.items():
            if symbol in asked:
                found.setdefault(self.modes[symbol], []).append(token)
        return found

    def drop(self, symbols: Sequence[str]) -> list[WireToken]:
        """Want ``symbols`` no longer; return the tokens the connection carries for them."""
        leaving = {symbol for symbol in symbols if self.modes.pop(symbol, None) is not None}
        tokens = [token for token, symbol in self.symbols.items() if symbol in leaving]
        for token in tokens:
            del self.symbols[token]
        self._unseen -= leaving
        self.version += 1
        return tokens

    def begin(self) -> tuple[dict[WireToken, FeedMode], list[str]]:
        """Start a connection; return the modes by token, and the symbols that have no token now."""
        self.symbols.clear()
        unknown: list[str] = []
        for symbol in self.modes:
            try:
                self.symbols[self._resolve(symbol)] = symbol
            except UnknownInstrument:
                unknown.append(symbol)
        self._unseen = set(self.modes)
        self.version += 1
        return {token: self.modes[symbol] for token, symbol in self.symbols.items()}, unknown

    @property
    def unseen(self) -> AbstractSet[str]:
        """Symbols whose next packet answers a subscription."""
        return self._unseen

    def mark_first(self, ticks: Sequence[Tick]) -> list[Tick]:
        """Return ``ticks`` with ``is_first`` set on what answers a subscription.

        In FULL mode every packet without a time counts as part of that answer: a broker may send one
        in its default mode before it has seen the mode message.
        """
        if not self._unseen:
            return list(ticks)
        return [self._mark(tick) if tick.symbol in self._unseen else tick for tick in ticks]

    def _mark(self, tick: Tick) -> Tick:
        if tick.exchange_time is not None or self.modes.get(tick.symbol) is not FeedMode.FULL:
            self._unseen.discard(tick.symbol)
        return tick._replace(is_first=True)

    def _resolve(self, symbol: str) -> WireToken:
        return resolve(symbol, self._tokens, self._wire_token)


def resolve(symbol: str, tokens: Tokens, wire_token: Callable[[str], WireToken]) -> WireToken:
    """Return the token by which frames name ``symbol``.

    Raises:
        UnknownInstrument: It has none, or one that no frame can carry.

    """
    token = tokens.token(symbol)
    try:
        return wire_token(token)
    except ValueError as exc:
        text = f"{symbol} cannot be subscribed: {exc}: import the instrument list again"
        raise UnknownInstrument(text) from exc
