"""What the person who started the listeners sees."""

from __future__ import annotations

import io
import logging
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from marketdata.domain.feed import ListenerHealth, ListenerState
from marketdata.domain.ticks import FeedMode
from marketdata.feeds import FeedReport
from marketdata.ports import BrokerConfig
from marketdata.processor import TickProcessor
from marketdata.wanted import WantedFeed
from project.console import LiveTable, PlainLines, summary, table
from tests.fakes.clock import HandClock

WELL = ListenerHealth(
    state=ListenerState.CONNECTED,
    is_connected=True,
    is_ticking=True,
    subscribed_symbols=("NSE:INFY", "NSE:SBIN"),
    subscription_count=2,
    reconnect_attempts=0,
    last_frame_age_s=0.1,
    last_tick_age_s=1.25,
    bad_frames=0,
    callback_errors=0,
    last_error="",
)
FEED = WantedFeed(
    1, BrokerConfig(7, "zerodha", "AB1234", "key"), 0, {"NSE:INFY": FeedMode.FULL, "NSE:SBIN": FeedMode.LTP}
)
DEAD = replace(WELL, state=ListenerState.LOGIN_NEEDED, is_connected=False, last_error="[red]token refused")


def house(*reports: FeedReport) -> Any:
    monitor = SimpleNamespace(armed_count=3)
    engine = SimpleNamespace(monitor=monitor)
    return SimpleNamespace(processor=TickProcessor(), engine=engine, reports=lambda: list(reports))


def drawn(*reports: FeedReport) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(table("w1", reports, "3 stops armed"))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_one_line_says_what_runs_and_what_does_not() -> None:
    line = summary(house(FeedReport(FEED, WELL, ""), FeedReport(FEED, DEAD, "")))
    assert line.startswith("1/2 connected, 0 ticks/s, 0 symbols, 3 armed, 0 errors")
    assert "zerodha:7 login_needed ([red]token refused)" in line


def test_a_table_has_a_row_for_each_feed() -> None:
    text = drawn(FeedReport(FEED, WELL, "", 12.4), FeedReport(FEED, DEAD, ""))
    well = next(line for line in text.splitlines() if "connected" in line)
    assert [cell.strip() for cell in well.split("│")[1:-1]] == [
        "zerodha:7", "connected", "2", "1", "12", "1.2 s", "0", "",
    ]  # fmt: skip
    assert "[red]token refused" in text  # a broker's words are shown, not obeyed


def test_without_accounts_it_says_that_it_waits() -> None:
    assert "waiting: no account is to run" in drawn()


def test_lines_come_every_ten_seconds() -> None:
    clock, lines = HandClock(), list[str]()
    shown = PlainLines(clock, lines.append)
    for _ in range(25):
        shown.show(house())
        clock.advance(1)
    assert len(lines) == 3


def test_log_lines_pass_above_the_table_and_go_back_afterwards() -> None:
    handler = logging.StreamHandler(sys.__stderr__)
    logging.getLogger().addHandler(handler)
    try:
        console = Console(file=io.StringIO(), force_terminal=True, width=140)
        with LiveTable("w1", console) as shown:
            shown.show(house(FeedReport(FEED, WELL, "")))
            assert handler.stream is not sys.__stderr__
        assert handler.stream is sys.__stderr__
    finally:
        logging.getLogger().removeHandler(handler)
