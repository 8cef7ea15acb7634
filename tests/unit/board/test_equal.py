"""Frames taken at once, on the board, and packet by packet lead to the same decisions, figures and last prices."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from marketdata.board import KEPT, KEPT_S
from marketdata.brokers.dhan import columns as dhan_columns
from marketdata.brokers.dhan import decode as dhan
from marketdata.brokers.zerodha import columns as kite_columns
from marketdata.brokers.zerodha import decode as kite
from marketdata.columns import ColumnReader
from marketdata.domain.gate import ACCEPTED
from marketdata.domain.orders import Quote
from marketdata.domain.sessions import Calendar
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.intake import Intake
from marketdata.ports import Tokens
from marketdata.quiet import QuietFeed
from marketdata.subscribed import Subscribed
from strategies.domain.freaks import WINDOW_S
from strategies.domain.watch import Watch
from tests.support.ticking import ONE, TWO, USER, TickHouse, units

COUNT = 30
SYMBOLS = [f"NSE:S{number}" for number in range(COUNT - 1)] + ["CDS:USDINR26DECFUT"]
PRICE = 1500


class Listed(Tokens):
    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = tokens

    def token(self, symbol: str) -> str:
        return self._tokens[symbol]

    def symbol(self, token: str) -> str | None:
        raise NotImplementedError

    def tick_size(self, symbol: str):
        return None


class KiteWire:
    """Writes Kite's frames."""

    tokens = {
        symbol: (1000 + 7 * n) << 8 | (3 if symbol[:3] == "CDS" else 1) for n, symbol in enumerate(SYMBOLS)
    }
    is_trade_time = False

    def reader(self) -> ColumnReader:
        return kite_columns.KiteColumns()

    def frame(self, packets: Sequence[tuple[str, float, int]]) -> bytes:
        return len(packets).to_bytes(2, "big") + b"".join(self._packet(*packet) for packet in packets)

    def _packet(self, symbol: str, rupees: float, time: int) -> bytes:
        token = self.tokens.get(symbol, 99 << 8 | 1)
        scale = 10_000_000 if token & 0xFF == 3 else 100
        head = struct.pack(">II", token, max(round(rupees * scale), 0) & 0xFFFF_FFFF)
        body = head.ljust(60, b"\0") + struct.pack(">I", time) if time else head
        packet = body.ljust(184, b"\0") if time else body
        return len(packet).to_bytes(2, "big") + packet

    def decode(self, frame: bytes, at: float, symbols: Mapping[Any, str]) -> Sequence[Tick]:
        return kite.decode(frame, received_at=at, symbols=symbols).ticks


class DhanWire:
    """Writes Dhan's packets, of the kind "full"."""

    tokens = {symbol: (3 if symbol[:3] == "CDS" else 1, 100 + n) for n, symbol in enumerate(SYMBOLS)}
    is_trade_time = True
    steps = dict.fromkeys(tokens.values(), units("0.05"))

    def reader(self) -> ColumnReader:
        return dhan_columns.DhanColumns(self.steps)

    def frame(self, packets: Sequence[tuple[str, float, int]]) -> bytes:
        return b"".join(self._packet(*packet) for packet in packets)

    def _packet(self, symbol: str, rupees: float, time: int) -> bytes:
        segment, security = self.tokens.get(symbol, (1, 9))
        head = struct.pack("<BHBI", dhan.FULL, dhan.SIZES[dhan.FULL], segment, security)
        value = struct.pack("<f2xI", rupees, time + dhan.IST_S if time else 0)
        return (head + value).ljust(dhan.SIZES[dhan.FULL], b"\0")

    def decode(self, frame: bytes, at: float, symbols: Mapping[Any, str]) -> Sequence[Tick]:
        return dhan.decode(frame, received_at=at, symbols=symbols, steps=self.steps).ticks


class House(TickHouse):
    """One of the two: with or without a board."""

    def __init__(self, wire: KiteWire | DhanWire, *, has_board: bool) -> None:
        super().__init__()
        self.wire = wire
        self.has_board = has_board
        tokens = {symbol: str(number) for number, symbol in enumerate(SYMBOLS)}
        by_number = {str(number): wire.tokens[symbol] for number, symbol in enumerate(SYMBOLS)}
        self.subscribed = Subscribed(Listed(tokens), by_number.__getitem__, None)
        self.subscribed.want(SYMBOLS, FeedMode.FULL)
        self.subscribed.begin()
        self.shown: dict[str, tuple[int, float]] = {}
        self.quiet = 0
        feed = QuietFeed(self.processor, USER, ONE, self._show, self._count)
        self.intake = Intake(wire.reader(), feed, self.subscribed)
        self.intake._show_soon = lambda: None  # type: ignore[method-assign]
        if has_board:
            feed.attach(self.intake.board)

    def _show(self, ticks: Sequence[Tick]) -> None:
        self.shown.update({tick.symbol: (tick.price, tick.received_at) for tick in ticks})

    def _count(self, quiet: int) -> None:
        self.quiet += quiet

    def take(self, frame: bytes) -> None:
        at = self.now
        if not (self.has_board and self.intake.take(frame, at, lambda loud: self._one_by_one(loud, at))):
            self._one_by_one(frame, at, is_whole=True)

    def _one_by_one(self, frame: bytes, at: float, *, is_whole: bool = False) -> None:
        ticks = self.wire.decode(frame, at, self.subscribed.symbols)
        if is_whole and self.has_board:
            self.intake.before(ticks)
        judged = self.processor.accept(USER, self.subscribed.mark_first(ticks), ONE)
        self._show([tick for tick, decision in judged if decision.is_shown])

    def known(self) -> dict[str, Any]:
        """Return all that a decision may hang on."""
        if self.has_board:
            self.intake.board.show(self.intake.board.waiting())
            self.intake.board.wake_all()
        watches = self.monitor._watches.get(USER, {})
        recent = {symbol: _looked_at(watch) for symbol, watch in watches.items()}
        newest = {symbol: known.newest for symbol, known in self.processor.gate._known.get(ONE, {}).items()}
        breaches = [(b.stop.strategy_id, b.price, b.received_at, b.exchange_time) for b in self.breaches]
        doubts = [(d.symbol, d.price, d.feed) for d in self.doubts]
        return {
            "breaches": breaches, "recent": recent, "newest": newest, "shown": self.shown,
            "counts": self.counts, "doubts": doubts, "total": self.processor.stats().total_ticks,
            "armed": self.monitor.armed_count, "prices": self.monitor.prices(),
        }  # fmt: skip


def _looked_at(watch: Watch) -> list[tuple[int, float, int | None, int]]:
    """Return the last prices that the next one may be compared with."""
    oldest = watch.recent[-1][0].received_at - WINDOW_S if watch.recent else 0.0
    told = [(t.price, t.received_at, t.exchange_time, feed) for t, feed in watch.recent]
    return [one for one in told if one[1] >= oldest]


def play(house: House, seed: int) -> dict[str, Any]:
    """Play what the seed says: frames of all sizes, and everything that may come between them."""
    rng = random.Random(seed)
    at = dict.fromkeys([*SYMBOLS, "NSE:STRANGER"], float(PRICE))
    for number, symbol in enumerate(SYMBOLS[: COUNT // 2]):
        house.arm(symbol, units(PRICE - 20), strategy_id=number + 1)
    for serial in range(100, 160):
        house.move(rng.choice((0.0, 0.01, 0.3, 1.0, 3.0)))
        count = rng.choice((1, 3, 14, 20, 40, 210))
        names = (
            rng.choices(list(at), k=count)
            if count > COUNT or rng.random() < 0.5
            else rng.sample(list(at), count)
        )
        house.take(house.wire.frame([_packet(rng, at, house.now, name) for name in names]))
        symbol = rng.choice(SYMBOLS)
        _happen(rng, house, symbol, round(at[symbol], 2), serial)
    house.move(2.0)
    return house.known()


def _packet(rng: random.Random, at: dict[str, float], now: float, symbol: str) -> tuple[str, float, int]:
    at[symbol] += rng.choice((0, 0.05, -0.05, 1, -1))
    price = at[symbol] + rng.choice((0,) * 150 + (-30, -500, 600))
    age = rng.choice((0,) * 90 + (1, 2, 9, 12, -20, -40))
    time = 0 if rng.random() < 0.01 else int(now) - age
    return symbol, 0.0 if rng.random() < 0.005 else price, time


def _happen(rng: random.Random, house: House, symbol: str, rupees: float, serial: int) -> None:
    away = rng.choice((0, 0.1, 5))
    happenings: dict[str, Callable[[], object]] = {
        "arm": lambda: house.arm(symbol, units(round(rupees - away, 2)), strategy_id=serial),
        "arm short": lambda: house.arm(
            symbol, units(round(rupees + away, 2)), long=False, strategy_id=serial
        ),
        "disarm": lambda: house.monitor.disarm(rng.randrange(1, serial)),
        "other feed": lambda: house.tick(symbol, units(rupees), feed=TWO),
        "band": lambda: house.processor.gate.admits(
            Quote(symbol, units(rupees), int(house.now), lower=units(rupees - 3), upper=units(rupees + 3)),
            house.now,
        ),
        "asked again": lambda: house.subscribed.again([symbol]),
        "left and wanted": lambda: (
            house.subscribed.drop([symbol]),
            house.subscribed.want([symbol], FeedMode.LTP),
        ),
        "calendar": lambda: house.processor.gate.set_calendar(Calendar()),
        "nothing": lambda: None,
    }
    happenings[rng.choice([*happenings, "nothing", "nothing", "nothing", "arm"])]()


@pytest.mark.parametrize("wire", [KiteWire(), DhanWire()], ids=["kite", "dhan"])
@pytest.mark.parametrize("seed", range(25))
def test_the_board_changes_no_decision(wire: KiteWire | DhanWire, seed: int) -> None:
    usual, at_once = House(wire, has_board=False), House(wire, has_board=True)
    expected, found = play(usual, seed), play(at_once, seed)
    assert found == expected
    assert at_once.quiet > 100, "nothing was taken at once: the comparison shows nothing"
    assert expected["counts"][ACCEPTED.reason] > at_once.quiet
    assert KEPT_S >= WINDOW_S
    assert all(len(recent) <= KEPT for recent in found["recent"].values())
