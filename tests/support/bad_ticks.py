"""Ticks that must sell nothing, by row of the catalogue: the corpus, made of kinds and instruments.

Each case is a short story told to the real pipeline. Every bad price in it is at or beyond the
stop: whoever believed it would send an order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from marketdata.domain.sessions import IST
from tests.support.ticking import MONDAY, ONE, TWO, Market, TickHouse, units


@dataclass(frozen=True)
class Listed:
    """An instrument, its price, how far a freak is from it, and whether the exchange limits its day."""

    symbol: str
    price: int
    limit_percent: int  # of the day; 0: none is told
    freaks: tuple[int, ...]  # per cent of the price that is left after a fall


INSTRUMENTS = (
    Listed("NSE:INFY", units(1500), 20, (78, 60, 1)),
    Listed("BSE:SBIN", units("812.35"), 10, (75, 50, 2)),
    Listed("NSE:NIFTY 50", units("24512.7"), 0, (79, 55, 3)),
    Listed("NFO:NIFTY26DECFUT", units(24600), 10, (70, 50, 5)),
    Listed("NFO:NIFTY26DEC24500CE", units("120.5"), 0, (45, 20, 1)),
    Listed("NFO:RELIANCE26DEC1400PE", units("8.05"), 99, (40, 10, 1)),
    Listed("CDS:USDINR26DECFUT", units("83.2525"), 5, (75, 50, 1)),
    Listed("MCX:GOLDM26DECFUT", units(71250), 6, (79, 50, 2)),
)


@dataclass(frozen=True)
class Case:
    name: str
    row: str  # of the catalogue
    listed: Listed
    long: bool
    act: Callable[[Case, TickHouse], None]

    @property
    def symbol(self) -> str:
        return self.listed.symbol

    @property
    def stop(self) -> int:
        """5 % away from the price, on the side on which this position loses."""
        return self.listed.price * (95 if self.long else 105) // 100

    def beyond(self, percent: int) -> int:
        """Return the price that a fall to ``percent`` leaves; for a short position its mirror image."""
        price = self.listed.price
        return price * percent // 100 if self.long else price * 100 // percent

    def touch(self) -> int:
        """Return a price beyond the stop that nothing but its circumstances makes unbelievable."""
        return self.stop * (99 if self.long else 101) // 100

    def house(self, now: float = MONDAY, latency_s: float | None = 0.2) -> TickHouse:
        """Return a house that knows the day's limits, as after every connection, with the stop armed."""
        house, listed = TickHouse(now), self.listed
        wide = listed.price * listed.limit_percent // 100
        limits = (listed.price - wide, listed.price + wide) if wide else None
        house.markets[self.symbol] = Market(listed.price, limits, latency_s)
        house.snapshot(self.symbol)
        house.arm(self.symbol, self.stop, long=self.long)
        return house

    def good(self, house: TickHouse, times: int = 3, wait: float = 0.2, **fields) -> None:
        for _ in range(times):
            house.tick(self.symbol, self.listed.price, **fields)
            house.move(wait)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=IST).timestamp()


Act = Callable[[Case, TickHouse], None]


def no_price(price: int) -> Act:
    def act(case: Case, house: TickHouse) -> None:
        case.good(house)
        house.tick(case.symbol, price)

    return act


def old(age: float, *, first: bool) -> Act:
    def act(case: Case, house: TickHouse) -> None:
        house.tick(case.symbol, case.touch(), age=age, is_first=first)

    return act


def first_without_time(case: Case, house: TickHouse) -> None:
    house.tick(case.symbol, case.touch(), exchange_time=None, is_first=True)


def outside(wait: float, *, timed: bool) -> Act:
    """A touch with a fresh time, but before the open or after the close; the house's clock says which."""

    def act(case: Case, house: TickHouse) -> None:
        house.move(wait)
        if timed:
            house.tick(case.symbol, case.touch())
        else:
            house.tick(case.symbol, case.touch(), exchange_time=None)

    return act


def freak(percent: int, back_after: float, *, told: int = 1, feeds: int = 1) -> Act:
    """One wild print, perhaps told more than once, and back."""

    def act(case: Case, house: TickHouse) -> None:
        for feed in (ONE, TWO)[:feeds]:
            case.good(house, feed=feed)
        stamp = int(house.now)
        for feed in (ONE, TWO)[:feeds] * told:
            house.tick(case.symbol, case.beyond(percent), feed=feed, exchange_time=stamp)
        house.move(back_after)
        for feed in (ONE, TWO)[:feeds]:
            case.good(house, feed=feed)

    return act


def alone(percent: int) -> Act:
    """One wild print and then nothing: only a quote can say that it was none."""

    def act(case: Case, house: TickHouse) -> None:
        case.good(house)
        house.tick(case.symbol, case.beyond(percent))
        house.move(3)

    return act


def wrong_feed(percent: int, times: int, wait: float) -> Act:
    """Another instrument's price, or another scale, again and again: outside what today allows."""

    def act(case: Case, house: TickHouse) -> None:
        case.good(house)
        for number in range(times):
            house.tick(case.symbol, case.beyond(percent) + number)
            house.move(wait)

    return act


def halted(case: Case, house: TickHouse) -> None:
    """The last price before a halt, told for ten minutes, and one that was overtaken by it."""
    case.good(house)
    stamp = int(house.now)
    house.move(11)
    for _ in range(60):
        house.tick(case.symbol, case.touch(), exchange_time=stamp)
        house.move(10)


def overtaken(case: Case, house: TickHouse) -> None:
    case.good(house)
    house.tick(case.symbol, case.touch(), age=30)


def trade_told_again(age: float) -> Act:
    def act(case: Case, house: TickHouse) -> None:
        traded = int(house.now - age)
        for first in (True, False, False):
            house.tick(case.symbol, case.touch(), exchange_time=traded, is_first=first, is_trade_time=True)
            house.move(1)

    return act


def ahead(seconds: int) -> Act:
    def act(case: Case, house: TickHouse) -> None:
        case.good(house)
        house.tick(case.symbol, case.touch(), age=-seconds)

    return act


_DAY = "2026-11-23T"
_EVERY: tuple[tuple[str, str, str, Act], ...] = (
    *(("TK-01", f"price of {p}", "", no_price(p)) for p in (0, -1, -(10**9))),
    *(
        ("TK-02", f"cached, {int(age)} s old, first={first}", "", old(age, first=first))
        for age in (11, 61, 3600, 86_400, 3 * 86_400)
        for first in (True, False)
    ),
    ("TK-02", "cached, without time", "", first_without_time),
    *(
        ("TK-03", f"before the open at {clock}, timed={timed}", f"{_DAY}{clock}", outside(1, timed=timed))
        for clock in ("08:30", "08:59:50")
        for timed in (True, False)
    ),
    ("TK-05", "a cached price on a Saturday", "2026-11-21T11:00", old(65_000, first=True)),
    ("TK-05", "an untimed price on a Saturday", "2026-11-21T11:00", outside(1, timed=False)),
    ("TK-05", "a cached price on a Sunday", "2026-11-22T11:00", old(150_000, first=False)),
    ("TK-07", "the price before a halt", "", halted),
    ("TK-14", "an overtaken price", "", overtaken),
    *(("TK-20", f"a trade of {age} s ago told again", "", trade_told_again(age)) for age in (600, 7200)),
    *(("TK-21", f"{s} s ahead", "", ahead(s)) for s in (31, 19_800, 86_400)),
)
_AFTER_CLOSE = ("17:30:05", "18:00", "23:56")


def _freaks(listed: Listed) -> Iterator[tuple[str, str, str, Act]]:
    for percent in listed.freaks:
        for back in (0.0, 0.4, 0.9):
            yield "TK-08", f"a print at {percent} %, back after {back} s", "", freak(percent, back)
        yield "TK-15", f"a print at {percent} % told three times", "", freak(percent, 0.5, told=3)
        yield "TK-15", f"a print at {percent} % on two feeds", "", freak(percent, 0.5, feeds=2)
        yield "TK-08", f"a print at {percent} % and silence", "", alone(percent)


def _impossible(listed: Listed) -> Iterator[tuple[str, str, str, Act]]:
    for row, percent in (("TK-11", 1), ("TK-11", 2), ("TK-10", 30), ("TK-10", 12)):
        for times, wait in ((1, 3.0), (6, 0.1), (40, 0.3)):
            name = f"{times} price(s) at {percent} %, each {wait} s"
            yield row, name, "", wrong_feed(percent, times, wait)


def corpus() -> Iterator[tuple[Case, float]]:
    """Return every case, and at what time it plays."""
    for listed in INSTRUMENTS:
        exchange = listed.symbol.partition(":")[0]
        kinds = [*_EVERY, *_freaks(listed)]
        if not listed.symbol.endswith(("CE", "PE")):
            kinds += _impossible(listed)
        kinds += [
            ("TK-04", f"after the close at {clock}", f"{_DAY}{clock}", outside(1, timed=True))
            for clock in _AFTER_CLOSE
            if exchange != "MCX" or clock > "23:55"
        ]
        for row, name, when, act in kinds:
            for long in (True, False):
                side = "bought" if long else "sold"
                full = f"{row} {listed.symbol} {side}: {name}"
                yield Case(full, row, listed, long, act), at(when) if when else MONDAY
