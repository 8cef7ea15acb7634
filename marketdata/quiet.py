"""One account's quiet prices, handed to the pipeline: see ``board``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from marketdata.board import Board
from marketdata.domain.gate import Accepted
from marketdata.domain.ticks import Tick


@runtime_checkable
class QuietPipeline(Protocol):
    """A pipeline that need not see each tick one by one."""

    def attach(self, board: Board) -> None:
        """Wake the board's instruments whenever their next price may mean something."""
        ...

    def interval(self, user_id: int, symbol: str, feed: int) -> Accepted | None: ...

    def settle(self, user_id: int, symbol: str, ticks: Sequence[Tick], feed: int, *, newest: int) -> None: ...

    def show(self, user_id: int, ticks: Sequence[Tick], feed: int) -> None: ...

    def show_behind(self, user_id: int, ticks: Sequence[Tick], feed: int) -> Sequence[Tick]: ...

    def count_quiet(self, ticks: int, received_at: float) -> None: ...


class QuietFeed:
    """What the boards of one account's connections ask and tell."""

    def __init__(
        self,
        pipeline: QuietPipeline,
        user_id: int,
        account_id: int,
        on_shown: Callable[[Sequence[Tick]], None],
        on_counted: Callable[[int], None],
    ) -> None:
        self._pipeline = pipeline
        self._user_id = user_id
        self._account_id = account_id
        self._on_shown = on_shown
        self._on_counted = on_counted

    def attach(self, board: Board) -> None:
        self._pipeline.attach(board)

    def interval(self, symbol: str) -> Accepted | None:
        return self._pipeline.interval(self._user_id, symbol, self._account_id)

    def settle(self, symbol: str, ticks: Sequence[Tick], newest: int) -> None:
        self._pipeline.settle(self._user_id, symbol, ticks, self._account_id, newest=newest)

    def show(self, ticks: Sequence[Tick]) -> None:
        self._pipeline.show(self._user_id, ticks, self._account_id)
        self._on_shown(ticks)

    def show_behind(self, ticks: Sequence[Tick]) -> None:
        if behind := self._pipeline.show_behind(self._user_id, ticks, self._account_id):
            self._on_shown(behind)

    def counted(self, quiet: int, received_at: float) -> None:
        self._pipeline.count_quiet(quiet, received_at)
        self._on_counted(quiet)
