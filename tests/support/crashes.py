"""True crashes: a price that goes to or beyond the stop and stays there, told in every clumsy way.

Known limits that are out of date, a broker that does not answer, wild prints before, two feeds of
which one lags, the same tick twice, one tick and then silence: none of it may cost the exit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.support.bad_ticks import INSTRUMENTS, Listed
from tests.support.ticking import MONDAY, ONE, TWO, Market, TickHouse

Draw = Callable[[int, int], int]
"""Draws a whole number between two, both included."""


@dataclass(frozen=True)
class Fallen:
    """What a story came to. ``began``: when the first price at or beyond the stop was told."""

    house: TickHouse
    began: float
    story: str

    @property
    def delay_s(self) -> float | None:
        """How long the exit was put off; None: there was none."""
        if not self.house.breaches:
            return None
        return self.house.breaches[0].decided_at - self.began


class Crash:
    """One story, drawn step by step."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._said: list[str] = []
        self.listed: Listed = INSTRUMENTS[draw(0, len(INSTRUMENTS) - 1)]
        self.long = bool(draw(0, 1))
        self.house = TickHouse(MONDAY + draw(0, 999) / 1000)

    def play(self) -> Fallen:
        """Play it to two seconds after the price has gone."""
        listed, house, draw = self.listed, self.house, self._draw
        self._limits(draw(0, 3))
        stop = self._away(draw(1, 15))
        house.arm(listed.symbol, stop, long=self.long)
        feeds = (ONE, TWO)[: draw(1, 2)]
        for _ in range(draw(0, 12)):
            self._quiet(feeds)
        if draw(0, 2) == 0:
            self._wild_print(feeds)
        assert not house.breaches, (self._said, house.breaches)
        began = house.now
        self._fall(feeds, stop)
        house.move(max(0.0, began + 2 - house.now))
        return Fallen(house, began, "; ".join(self._said))

    def _away(self, percent: int) -> int:
        """Return the price so many per cent away, on the side on which this position loses."""
        return self.listed.price * (100 - percent if self.long else 100 + percent) // 100

    def _limits(self, kind: int) -> None:
        """Known limits: none, wide, narrow and out of date, or narrow with a broker that is away."""
        symbol, price, draw = self.listed.symbol, self.listed.price, self._draw
        latency = draw(20, 600) / 1000
        wide = (price // 10, price * 3)
        narrow = (price * 98 // 100, price * 102 // 100)
        self._said.append(("no limits", "wide", "out of date", "out of date, no answer")[kind])
        if kind == 0:
            return
        self.house.markets[symbol] = Market(price, wide if kind == 1 else narrow, latency)
        self.house.snapshot(symbol)
        if kind == 3:
            self.house.markets[symbol].latency_s = None

    def _quiet(self, feeds: tuple[int, ...]) -> None:
        jitter = self._draw(-5, 5)
        for feed in feeds:
            self.house.tick(self.listed.symbol, self.listed.price * (1000 + jitter) // 1000, feed=feed)
        self.house.move(self._draw(1, 700) / 1000)

    def _wild_print(self, feeds: tuple[int, ...]) -> None:
        """A print that is taken back before the price really goes."""
        percent = self._draw(60, 95)
        self._said.append(f"a wild print {percent} % away")
        self._quiet(feeds)
        self.house.tick(self.listed.symbol, self._away(percent))
        self.house.move(self._draw(0, 600) / 1000)
        self._quiet(feeds)

    def _fall(self, feeds: tuple[int, ...], stop: int) -> None:
        """The price goes, and its feed may stop there; the other feed, if any, may lag or repeat it."""
        draw, symbol = self._draw, self.listed.symbol
        steps, depth, other = draw(1, 12), draw(0, 90), draw(0, 2)
        self._said.append(
            f"{steps} tick(s), {depth} % beyond, the other feed {('silent', 'lags', 'agrees')[other]}"
        )
        price = stop
        for step in range(steps):
            price = stop * (100 - depth) // 100 if self.long else stop * (100 + 4 * depth) // 100
            price += 0 if draw(0, 1) else (-step if self.long else step)
            if symbol in self.house.markets:
                market = self.house.markets[symbol]
                market.price, market.limits = price, (price // 2, price * 2)
            self.house.tick(symbol, max(price, 1))
            if len(feeds) > 1 and other:
                self.house.tick(symbol, self.listed.price if other == 1 else max(price, 1), feed=TWO)
            self.house.move(draw(1, 400) / 1000)
