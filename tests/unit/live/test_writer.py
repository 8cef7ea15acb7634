from __future__ import annotations

import json
from typing import Any

import pytest

from marketdata.clock import SystemClock
from strategies.live.board import PriceBoard
from strategies.live.frames import Frame, frame
from strategies.live.parts import in_parts
from strategies.live.writer import PageWriter


class Enough(Exception):
    """The test has been told what it waits for."""


class Page:
    """A page's end: what it was told, until it has had enough."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.board = PriceBoard(lambda prices: frame("prices", 7, prices=prices), most=2)
        self.writer = PageWriter(self.board, SystemClock(), send=self._take, end=lambda _: None)
        self._enough = 0

    async def reads(self, count: int) -> list[dict[str, Any]]:
        self._enough = len(self.told) + count
        with pytest.raises(Enough):
            await self.writer.run()
        return self.told[-count:]

    async def _take(self, text: str) -> None:
        self.told.append(json.loads(text))
        if len(self.told) == self._enough:
            raise Enough


def parts(count: int) -> list[Frame]:
    return list(in_parts(7, {"strategies": [{"id": n} for n in range(count)]}, most=1))[1:]


async def test_nothing_comes_between_the_parts_and_what_came_meanwhile_follows() -> None:
    page = Page()
    for n in range(2):  # the first snapshot of a page, and another one
        page.writer.tell(frame("alert", 7, body={"n": n}))
        page.board.put([["NSE:INFY", f"{n}.00", n]])
        page.board.turn()
        page.writer.begin_again(parts(3), page.board.number - 1)
        told = await page.reads(5)
        kinds = [message["type"] for message in told]
        first = ["part"] * 3 + ["alert", "prices"], ["alert"] + ["part"] * 3 + ["prices"]
        assert kinds == first[n]

    assert [message["seq"] for message in page.told] == list(range(1, 11))


async def test_prices_that_do_not_fit_in_a_frame_come_in_the_next() -> None:
    page = Page()
    page.writer.begin_again(parts(1), 0)
    page.board.put([[f"NSE:S{n}", "1.00", n] for n in range(5)])
    for _ in range(3):
        page.board.turn()
    told = await page.reads(4)

    assert [[at for _, _, at in message["prices"]] for message in told[1:]] == [[0, 1], [2, 3], [4]]
    assert not page.board.has_news
