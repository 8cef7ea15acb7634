"""The order side of a Kite account: reads through the SDK, writes on our own wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from marketdata.asking import in_portions
from marketdata.brokers.zerodha import book
from marketdata.brokers.zerodha.reading import client, read
from marketdata.brokers.zerodha.wire import KiteWire
from marketdata.domain.orders import OrderSnapshot, PositionSnapshot, Quote, TradeSnapshot
from marketdata.portfolio import account_positions
from marketdata.ports import BrokerConfig, ContractBook
from marketdata.replies import mapping

QUOTES_PER_CALL = 500
OHLC_PER_CALL = 1000
QUOTE_SPACING_S = 1.05
"""Kite answers one quote request a second."""


class KiteGateway:
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
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="kite-holdings")

    @cached_property
    def _kite(self) -> Any:
        return client(self._root, self._config)

    def open_wire(self) -> KiteWire:
        return KiteWire.open(self._root, self._config)

    def orders(self) -> Sequence[OrderSnapshot]:
        return read(lambda: book.order_snapshots(self._kite.orders()))

    def trades(self) -> Sequence[TradeSnapshot]:
        return read(lambda: book.trade_snapshots(self._kite.trades()))

    def positions(self) -> Sequence[PositionSnapshot]:
        held = self._beside.submit(read, lambda: book.holdings(self._kite.holdings()))
        net = read(lambda: book.net_positions(self._kite.positions()))
        return account_positions(net, held.result(), self._contracts)

    def quotes(self, symbols: Collection[str]) -> Mapping[str, Quote]:
        # Above one request's worth, OHLC takes twice as many at once.
        few = len(symbols) <= QUOTES_PER_CALL
        ask = self._kite.quote if few else self._kite.ohlc
        found: dict[str, Quote] = {}
        size = QUOTES_PER_CALL if few else OHLC_PER_CALL
        for some in in_portions(sorted(symbols), size, spacing_s=QUOTE_SPACING_S, sleep=self._sleep):
            found.update(read(lambda some=some: _quotes(ask, some)))  # type: ignore[misc]
        return found

    def account_id(self) -> str:
        return read(lambda: book.user_id(self._kite.profile()))


def _quotes(ask: Callable[..., Any], symbols: Sequence[str]) -> dict[str, Quote]:
    rows = mapping(ask(*symbols), "quotes")
    return {symbol: book.quote(symbol, rows[symbol]) for symbol in symbols if symbol in rows}
