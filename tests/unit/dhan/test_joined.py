"""Packets that came one a message, put together: only where that means the same."""

from __future__ import annotations

import pytest

from marketdata.brokers.dhan.columns import joined
from marketdata.brokers.dhan.decode import decode
from marketdata.columns import MANY
from tests.support import dhan_frames as frames
from tests.support.dhan_frames import INFY, SBIN

NOW = 1_795_000_000.5
SYMBOLS = {INFY: "NSE:INFY", SBIN: "NSE:SBIN"}


def packets(count: int = 2 * MANY) -> list[bytes | str]:
    return [
        frames.full(INFY if number % 3 else SBIN, 1500 + number, 1_795_000_000, 1500, 1501)
        for number in range(count)
    ]


def ticks(messages):
    return [
        tick
        for message in messages
        for tick in decode(message, received_at=NOW, symbols=SYMBOLS, steps={}).ticks
    ]


def test_alike_packets_become_one_frame_with_the_same_ticks() -> None:
    together = joined(packets())
    assert len(together) == 1
    assert ticks(together) == ticks(packets())


@pytest.mark.parametrize(
    "odd",
    [
        "text",
        b"",
        b"\0",
        frames.ticker(INFY, 1500.0, 1_795_000_000),
        frames.full(INFY, 1.0, 1_795_000_000, 1, 1)[:-1],
        b"\x08\xff\xff" + frames.full(INFY, 1.0, 1_795_000_000, 1, 1)[3:],
    ],
)
@pytest.mark.parametrize("place", [0, MANY, -1])
def test_with_one_that_is_not_alike_all_are_read_as_they_came(odd: bytes | str, place: int) -> None:
    messages = packets()
    messages[place] = odd
    assert joined(messages) == messages


def test_a_few_are_read_as_they_came() -> None:
    assert joined(packets(3)) == packets(3)
