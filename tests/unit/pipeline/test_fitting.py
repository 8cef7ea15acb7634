"""What goes onto a connection and what stays out."""

from __future__ import annotations

from marketdata.domain.ticks import FeedMode
from marketdata.fitting import Fit, fit
from marketdata.wanted import FeedTokens

FULL, LTP = FeedMode.FULL, FeedMode.LTP
TOKENS = FeedTokens({"NSE:A": "1", "NSE:B": "2", "NSE:C": "3", "NSE:BAD": "n/a"}, {})


def test_what_is_sound_and_has_room_goes() -> None:
    modes = {"NSE:A": FULL, "NSE:B": LTP}
    assert fit(modes, TOKENS, int, 2) == Fit(modes)


def test_a_bad_token_stays_out_and_takes_no_room() -> None:
    found = fit({"NSE:BAD": FULL, "NSE:A": LTP}, TOKENS, int, 1)
    assert (found.modes, found.crowded) == ({"NSE:A": LTP}, "")
    assert "NSE:BAD cannot be subscribed" in found.refused
    assert "n/a" in found.refused


def test_without_room_watched_ones_stay_out_first() -> None:
    found = fit({"NSE:A": LTP, "NSE:B": LTP, "NSE:C": FULL}, TOKENS, int, 2)
    assert found.modes == {"NSE:C": FULL, "NSE:A": LTP}
    assert found.crowded == "3 instruments are wanted, one connection carries 2"


def test_many_bad_ones_are_told_in_short() -> None:
    found = fit({f"NSE:X{n}": FULL for n in range(9)}, TOKENS, int, 10)
    assert found.modes == {}
    assert found.refused.startswith("NSE:X0 is not wanted on this feed; NSE:X1 ")
    assert found.refused.endswith("; and 6 more")
