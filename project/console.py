"""How the listeners are, for the person who started them: a live table, or a line now and then."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from marketdata.domain.clock import Clock
from marketdata.domain.feed import ListenerState
from marketdata.domain.ticks import FeedMode
from marketdata.feeds import FeedReport
from project.runtime import House

LINE_S = 10.0
_COLUMNS = ("listener", "state", "symbols", "armed", "ticks/s", "last tick", "reconnects", "note")
_NUMBERS = _COLUMNS[2:7]
_STYLES = {
    ListenerState.CONNECTED: "blue",
    ListenerState.CONNECTING: "yellow",
    ListenerState.LOGIN_NEEDED: "bold dark_orange",
}


class Display(Protocol):
    """Shows a house about once a second, inside a ``with`` block."""

    def show(self, house: House) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def display(worker: str, clock: Clock, write: Callable[[str], object]) -> Display:
    """Return the table for a terminal, lines for a pipe."""
    return LiveTable(worker) if sys.stdout.isatty() else PlainLines(clock, write)


class PlainLines:
    """One line every ten seconds."""

    def __init__(self, clock: Clock, write: Callable[[str], object]) -> None:
        self._clock = clock
        self._write = write
        self._shown_at = float("-inf")

    def show(self, house: House) -> None:
        """Write a line if one is due."""
        now = self._clock.monotonic()
        if now - self._shown_at >= LINE_S:
            self._shown_at = now
            self._write(summary(house))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put back."""


class LiveTable:
    """A table that stays in place; log lines pass above it."""

    def __init__(self, worker: str, console: Console | None = None) -> None:
        self._worker = worker
        self._live = Live(console=console or Console(), refresh_per_second=2)
        self._moved: list[logging.StreamHandler[TextIO]] = []

    def show(self, house: House) -> None:
        """Draw the table anew."""
        stats = house.processor.stats()
        armed = house.engine.monitor.armed_count
        caption = (
            f"{armed} stops armed · {stats.total_ticks} ticks · p99 {stats.p99_processing_time_ms:.2f} ms"
        )
        self._live.update(table(self._worker, house.reports(), caption))

    def __enter__(self) -> Self:
        self._live.start()
        # The handlers still hold the stream of before: written there, a line would tear the table.
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__:
                self._moved.append(handler)
                handler.setStream(sys.stderr)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handler in self._moved:
            handler.setStream(sys.__stderr__ or sys.stderr)
        self._live.stop()


def summary(house: House) -> str:
    """Return one line about everything."""
    stats, reports = house.processor.stats(), house.reports()
    connected = sum(report.health.is_connected for report in reports)
    line = (
        f"{connected}/{len(reports)} connected, {stats.ticks_per_second:.0f} ticks/s, "
        f"{stats.symbols_tracked} symbols, {house.engine.monitor.armed_count} armed, {stats.error_count} errors"
    )
    waiting = [_plain(report) for report in reports if not report.health.is_connected]
    return f"{line}; {'; '.join(waiting)}" if waiting else line


def table(worker: str, reports: Sequence[FeedReport], caption: str) -> Table:
    """Return the table of all feeds."""
    drawn = Table(title=f"Listeners of {worker}", caption=caption, expand=False)
    for heading in ("listener", "state", "symbols", "ticks/s", "last tick", "reconnects", "note"):
        drawn.add_column(
            heading, justify="right" if heading in ("symbols", "ticks/s", "last tick") else "left"
        )
    for report in reports:
        drawn.add_row(*_row(report))
    if not reports:
        drawn.add_row("none", "waiting: no account is to run")
    return drawn


def _row(report: FeedReport) -> list[Text]:
    health = report.health
    cells = [
        _name(report),
        health.state.value,
        str(health.subscription_count),
        str(sum(mode is FeedMode.FULL for mode in report.wanted.modes.values())),
        f"{report.ticks_per_second:.0f}",
        "never" if health.last_tick_age_s is None else f"{health.last_tick_age_s:.1f} s",
        str(health.reconnect_attempts),
        report.trouble or health.last_error,
    ]
    return [Text(cell, style=_STYLES.get(health.state, "")) for cell in cells]


def _plain(report: FeedReport) -> str:
    why = report.trouble or report.health.last_error
    return f"{_name(report)} {report.health.state.value}{f' ({why})' if why else ''}"


def _name(report: FeedReport) -> str:
    return f"{report.wanted.config.broker}:{report.wanted.config.account_id}"
