"""What an account holds: its net positions and the shares of its demat account, put together.

Two things are never guessed. A row whose contract our list does not have stays, without a name:
leaving it out would look like "sold". And shares sold today count once, though brokers may show
the sale twice: as a negative position, and as shares used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from marketdata.domain.instruments import canonical
from marketdata.domain.orders import PositionSnapshot
from marketdata.ports import ContractBook

_SHARE_EXCHANGES = ("NSE", "BSE")
"""A share in the demat account can be sold on any of these that lists it, by the same name."""


_Key = tuple[str, str]
"""Symbol and product."""


@dataclass(frozen=True, slots=True)
class Held:
    """Shares of the demat account, as a broker lists them.

    Attributes:
        symbol: Canonical; empty when it is not known which.
        quantity: Held, without what is pledged.
        used: Of these, what the broker counts as sold or blocked today.
        isin: Tells two shares of one name apart; empty when the broker does not say.

    """

    symbol: str
    product: str
    quantity: int
    used: int
    isin: str = ""


def account_positions(
    net: Sequence[PositionSnapshot], held: Sequence[Held], contracts: ContractBook
) -> list[PositionSnapshot]:
    """Return the account's positions, with the shares that can still be sold.

    Args:
        net: The broker's net positions; rows of one contract and product add up.
        held: Its holdings. Each stands below under every exchange that lists the share.
        contracts: Our list. What it does not have is returned with an empty symbol.

    """
    shares = _shares(held)
    asked = {row.symbol for row in net} | {symbol for share in shares for symbol in share.symbols}
    listed = contracts.listed(asked - {""})
    today = _sums(net)
    found = {key: PositionSnapshot(*key, quantity) for key, quantity in today.items() if key[0] in listed}
    # Rows without a name are not added up: one's plus and another's minus would come to nothing.
    nameless = [replace(row, symbol="") for row in net if row.symbol not in listed]
    for share in shares:
        rows = share.rows(today, listed)
        found |= {(row.symbol, row.product): row for row in rows}
        nameless += [] if any(symbol in listed for symbol in share.symbols) else [share.left(today)]
    return [*found.values(), *(row for row in nameless if row.quantity)]


def _sums(net: Sequence[PositionSnapshot]) -> dict[_Key, int]:
    today: dict[_Key, int] = {}
    for row in net:
        today[row.symbol, row.product] = today.get((row.symbol, row.product), 0) + row.quantity
    return today


@dataclass(frozen=True, slots=True)
class _Share:
    """One share, however many rows it has, with the symbols it may have in our list."""

    symbols: tuple[str, ...]
    product: str
    quantity: int
    used: int

    def left(self, today: Mapping[_Key, int]) -> PositionSnapshot:
        """Return what can still be sold, by whichever account of today's sales says more."""
        sold = sum(max(-today.get((symbol, self.product), 0), 0) for symbol in self.symbols)
        quantity = max(self.quantity - max(self.used, sold), 0)
        return PositionSnapshot("", self.product, quantity, from_holdings=self.quantity > 0)

    def rows(self, today: Mapping[_Key, int], listed: Collection[str]) -> list[PositionSnapshot]:
        """Return a row for each listed symbol, with what was bought there today."""
        # All zeros say nothing about a position: there is none, and there was none.
        is_any, left = self.quantity > 0 or self.used > 0, self.left(today)
        bought = {symbol: today.get((symbol, self.product)) for symbol in self.symbols if symbol in listed}
        return [
            replace(left, symbol=symbol, quantity=left.quantity + max(quantity or 0, 0))
            for symbol, quantity in bought.items()
            if is_any or quantity is not None
        ]


def _shares(held: Sequence[Held]) -> list[_Share]:
    isins = {row.symbol: row.isin for row in held}
    merged: dict[tuple[str, ...], _Share] = {}
    for row in held:
        symbols = tuple(
            s for s in _listings(row.symbol) if s == row.symbol or _may_be(row.isin, isins.get(s))
        )
        known = merged.get((row.product, *symbols), _Share(symbols, row.product, 0, 0))
        merged[row.product, *symbols] = replace(
            known, quantity=known.quantity + row.quantity, used=known.used + row.used
        )
    return list(merged.values())


def _listings(symbol: str) -> tuple[str, ...]:
    """Return the symbols that the share may have in our list."""
    exchange, _, name = symbol.partition(":")
    if exchange in _SHARE_EXCHANGES:
        return tuple(canonical(other, name) for other in _SHARE_EXCHANGES)
    return (symbol,) if symbol else ()


def _may_be(isin: str, there: str | None) -> bool:
    """Tell whether a share is what is held by its name on another exchange; None: nothing is."""
    return there is None or (isin != "" and isin == there)
