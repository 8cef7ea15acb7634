from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from strategies.live.board import Price, PriceBoard
from strategies.live.frames import Frame, frame


class Encoder:
    """Counts how often something is encoded."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, prices: list[Price]) -> Frame:
        self.times += 1
        return frame("prices", 7, prices=prices)


def read(found: tuple[Frame, int]) -> list[list[Any]]:
    rows: list[list[Any]] = json.loads(found[0].numbered(1))["prices"]
    return rows


def test_a_frame_is_the_documented_message_with_each_sockets_own_number() -> None:
    news = frame("exit", 1_800_000_000_000, body={"text": "Sold at ₹1,499.95"})

    assert [json.loads(news.numbered(seq)) for seq in (1, 42)] == [
        {"type": "exit", "seq": seq, "at": 1_800_000_000_000, "body": {"text": "Sold at ₹1,499.95"}}
        for seq in (1, 42)
    ]
    assert frame("prices", 7, prices=[["NSE:INFY", "1499.95", 6]]).numbered(3) == (
        '{"type":"prices","seq":3,"at":7,"prices":[["NSE:INFY","1499.95",6]]}'
    )


def test_the_latest_of_what_came_before_a_turn_is_shown_by_it() -> None:
    board = PriceBoard(Encoder())
    board.put([["NSE:INFY", "1500.00", 1], ["NSE:SBIN", "800.00", 1]])
    board.put([["NSE:INFY", "1500.05", 2]])
    assert (board.number, board.has_news) == (0, True)
    board.turn()

    assert (board.number, board.has_news) == (1, False)
    assert read(board.since(0)) == [["NSE:INFY", "1500.05", 2], ["NSE:SBIN", "800.00", 1]]
    assert board.known("NSE:SBIN") == ["NSE:SBIN", "800.00", 1]
    assert board.known("NSE:TCS") is None


def test_a_turn_without_news_is_none() -> None:
    board = PriceBoard(Encoder())
    board.turn()

    assert board.number == 0


def test_all_who_have_seen_the_same_share_one_encoding() -> None:
    encoder = Encoder()
    board = PriceBoard(encoder)
    for n in range(1, 4):
        board.put([["NSE:INFY", f"{n}.00", n]])
        board.turn()
        frames = [board.since(n - 1) for _ in range(50)]
        assert all(shown is frames[0] for shown in frames)

    assert encoder.times == 3


@given(
    st.lists(st.tuples(st.lists(st.sampled_from("ABCDE"), max_size=5), st.booleans()), max_size=40),
    st.integers(1, 6),
)
def test_whoever_skips_frames_ends_on_the_true_last_prices(
    turns: list[tuple[list[str], bool]], most: int
) -> None:
    """One viewer reads now and then, and all at last; it never needs more than the latest of each symbol."""
    board, seen = PriceBoard(Encoder(), most), 0
    truth: dict[str, int] = {}
    shown: dict[str, int] = {}
    for n, (symbols, reads) in enumerate([*turns, *[([], True)] * 10]):
        board.put([[symbol, str(n), n] for symbol in symbols])
        truth.update(dict.fromkeys(symbols, n))
        board.turn()
        if reads and seen < board.number:
            rows = read(board.since(seen))
            assert 0 < len({symbol for symbol, _, _ in rows}) == len(rows) <= most
            shown.update({symbol: at for symbol, _, at in rows})
            before, seen = seen, board.since(seen)[1]
            assert before < seen <= board.number

    assert shown == truth
