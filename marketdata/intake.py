"""Binary messages of one connection: quiet prices to the board, all others one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from marketdata.board import Board, FeedHouse
from marketdata.columns import ColumnReader
from marketdata.domain.gate import Accepted
from marketdata.domain.ticks import Tick
from marketdata.subscribed import Subscribed

SHOW_S = 0.05
"""How long a quiet price waits before caches and pages are told of it."""
SHOWN_AT_ONCE = 100
"""So many are shown before the loop gets a turn: a frame that comes meanwhile waits for these only."""


class Intake:
    """The board of one connection, and when it is looked at."""

    def __init__(self, reader: ColumnReader, house: FeedHouse, subscribed: Subscribed) -> None:
        self._house = house
        self._subscribed = subscribed
        self._version = -1
        self._is_shown_soon = False
        self.board = Board(reader, self)

    def take(self, frame: bytes, received_at: float, tell: Callable[[bytes], object]) -> bool:
        """Take a frame of many packets; False: it is to be decoded as it is.

        ``tell`` takes a frame of those packets that have to be looked at one by one.
        """
        if self._version != self._subscribed.version:
            self._carry()
        quiet = self.board.take(frame, received_at, tell)
        if quiet:
            self._house.counted(quiet, received_at)
            self._show_soon()
        return quiet is not None

    def before(self, ticks: Sequence[Tick]) -> None:
        """Have told what came before these ticks, which come one by one."""
        for tick in ticks:
            self.board.wake(tick.symbol)

    # --- what the board asks, and tells ---------------------------------------------------

    def interval(self, symbol: str) -> Accepted | None:
        """Return which prices are quiet; None before an instrument has answered its subscription."""
        return None if symbol in self._subscribed.unseen else self._house.interval(symbol)

    def settle(self, symbol: str, ticks: Sequence[Tick], newest: int) -> None:
        self._house.settle(symbol, ticks, newest)

    def show(self, ticks: Sequence[Tick]) -> None:
        self._house.show(ticks)

    def show_behind(self, ticks: Sequence[Tick]) -> None:
        self._house.show_behind(ticks)

    # --- inside ---------------------------------------------------------------------------

    def _carry(self) -> None:
        self._version = self._subscribed.version
        self.board.carry(self._subscribed.symbols)
        for symbol in self._subscribed.unseen:
            self.board.wake(symbol)

    def _show_soon(self) -> None:
        if not self._is_shown_soon:
            self._is_shown_soon = True
            asyncio.get_running_loop().call_later(SHOW_S, self._show_waiting)

    def _show_waiting(self) -> None:
        self._is_shown_soon = False
        waiting = self.board.waiting()
        for start in range(0, len(waiting), SHOWN_AT_ONCE):
            some = waiting[start : start + SHOWN_AT_ONCE]
            asyncio.get_running_loop().call_soon(self.board.show, some)
