"""What goes onto a feed and what stays out."""

from __future__ import annotations

from marketdata.domain.ticks import FeedMode
from marketdata.fitting import Fit, Room, fit
from marketdata.wanted import FeedTokens

FULL, LTP = FeedMode.FULL, FeedMode.LTP
TOKENS = FeedTokens({"NSE:A": "1", "NSE:B": "2", "NSE:C": "3", "NSE:BAD": "n/a"}, {})


def room(per_connection: int, connections: int = 1) -> Room:
    return Room("zerodha", per_connection, connections)


def test_what_is_sound_and_has_room_goes() -> None:
    modes = {"NSE:A": FULL, "NSE:B": LTP}
    assert fit(modes, TOKENS, int, room(2)) == Fit(modes)


def test_a_bad_token_stays_out_and_takes_no_room() -> None:
    found = fit({"NSE:BAD": FULL, "NSE:A": LTP}, TOKENS, int, room(1))
    assert (found.modes, found.crowded) == ({"NSE:A": LTP}, "")
    assert "NSE:BAD cannot be subscribed" in found.refused
    assert "n/a" in found.refused


def test_without_room_watched_ones_stay_out_first_and_the_limit_is_named() -> None:
    found = fit({"NSE:A": LTP, "NSE:B": LTP, "NSE:C": FULL}, TOKENS, int, room(1, 2))
    assert found.modes == {"NSE:C": FULL, "NSE:A": LTP}
    assert found.crowded == (
        "zerodha carries 2 instruments (2 connections of 1): 1 left out, NSE:B: watch fewer"
    )


def test_what_is_carried_is_not_lost_to_another_that_is_watched_but_to_one_that_is_armed() -> None:
    modes = {"NSE:A": LTP, "NSE:B": LTP, "NSE:C": LTP}
    assert fit(modes, TOKENS, int, room(2), ["NSE:B", "NSE:C"]).modes == {"NSE:B": LTP, "NSE:C": LTP}
    armed = {**modes, "NSE:A": FULL}
    assert fit(armed, TOKENS, int, room(2), ["NSE:B", "NSE:C"]).modes == {"NSE:A": FULL, "NSE:B": LTP}


def test_of_many_left_out_some_are_named() -> None:
    tokens = FeedTokens({f"NSE:X{n:05}": str(n) for n in range(9_005)}, {})
    found = fit({f"NSE:X{n:05}": LTP for n in range(9_005)}, tokens, int, room(3_000, 3))
    assert len(found.modes) == 9_000
    assert found.crowded == (
        "zerodha carries 9,000 instruments (3 connections of 3,000): 5 left out, "
        "NSE:X09000; NSE:X09001; NSE:X09002; and 2 more: watch fewer"
    )


def test_many_bad_ones_are_told_in_short() -> None:
    found = fit({f"NSE:X{n}": FULL for n in range(9)}, TOKENS, int, room(10))
    assert found.modes == {}
    assert found.refused.startswith("NSE:X0 is not wanted on this feed; NSE:X1 ")
    assert found.refused.endswith("; and 6 more")
