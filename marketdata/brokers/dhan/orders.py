"""The order side of a Dhan account: reads through the SDK, writes on our own wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from marketdata.asking import in_portions
from marketdata.brokers.dhan import book
from marketdata.brokers.dhan.reading import DhanReads
from marketdata.brokers.dhan.segments import is_token, split_token
from marketdata.brokers.dhan.wire import DhanWire
from marketdata.domain.orders import OrderSnapshot, PositionSnapshot, Quote, TradeSnapshot
from marketdata.portfolio import account_positions
from marketdata.ports import BrokerConfig, ContractBook

_Row = TypeVar("_Row", OrderSnapshot, TradeSnapshot)

QUOTES_PER_CALL = 1000
QUOTE_SPACING_S = 1.05
"""Dhan answers one quote request a second."""


class DhanGateway:
    """Implements ``ports.OrderGateway``. Blocking: for worker threads."""

    def __init__(
        self,
        config: BrokerConfig,
        root: str,
        contracts: ContractBook,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._root = root
        self._contracts = contracts
        self._sleep = sleep
        # Holdings are read beside positions: neither has to wait for the other.
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="dhan-holdings")

    @cached_property
    def _reads(self) -> DhanReads:
        return DhanReads(self._root, self._config)

    def open_wire(self) -> DhanWire:
        return DhanWire.open(self._root, self._config, self._contracts)

    def orders(self) -> Sequence[OrderSnapshot]:
        return self._named(book.order_snapshots(self._reads.read(self._reads.sdk.get_order_list)))

    def trades(self) -> Sequence[TradeSnapshot]:
        return self._named(book.trade_snapshots(self._reads.read(self._reads.sdk.get_trade_book)))

    def _named(self, rows: Sequence[_Row]) -> list[_Row]:
        names = self._contracts.symbols_of({row.symbol for row in rows})
        # An order is found by its tag: one of a contract not in our list keeps its token for a name.
        return [replace(row, symbol=names.get(row.symbol, row.symbol)) for row in rows]

    def positions(self) -> Sequence[PositionSnapshot]:
        holding = self._beside.submit(self._reads.holdings)
        net = book.net_positions(self._reads.read(self._reads.sdk.get_positions))
        held = book.holdings(holding.result())
        names = self._contracts.symbols_of({row.symbol for row in net} | {row.symbol for row in held})
        return account_positions(
            [replace(row, symbol=names.get(row.symbol, "")) for row in net],
            [replace(row, symbol=names.get(row.symbol, "")) for row in held],
            self._contracts,
        )

    def quotes(self, symbols: Collection[str]) -> Mapping[str, Quote]:
        listed = self._contracts.tokens_of(symbols)
        # One bad row of the list must not cost the others their quotes.
        tokens = {token: symbol for symbol, token in listed.items() if is_token(token)}
        found: dict[str, Quote] = {}
        for some in in_portions(list(tokens), QUOTES_PER_CALL, spacing_s=QUOTE_SPACING_S, sleep=self._sleep):
            found.update(book.quotes(self._quoted(some), tokens))
        return found

    def account_id(self) -> str:
        return book.client_id(self._reads.profile())

    def _quoted(self, tokens: Sequence[str]) -> Any:
        wanted: dict[str, list[int]] = {}
        for segment, security_id in map(split_token, tokens):
            wanted.setdefault(segment, []).append(int(security_id))
        return self._reads.read(lambda: self._reads.sdk.quote_data(wanted))
