"""Which prices are possible, and when a band yields."""

from __future__ import annotations

from datetime import datetime

import pytest

from marketdata.domain import gate
from marketdata.domain.bands import ANY, Band, band_of
from marketdata.domain.gate import Gate
from marketdata.domain.orders import Quote
from marketdata.domain.sessions import IST, Calendar
from marketdata.domain.ticks import Tick
from tests.support.ticking import MONDAY

INFY, CALL = "NSE:INFY", "NFO:NIFTY26DEC24500CE"
LIMITS = Band(80, 120)


def quoted(price: int, limits: Band | None = LIMITS, symbol: str = INFY) -> Quote:
    lower, upper = limits or (None, None)
    return Quote(symbol, price, int(MONDAY), lower=lower, upper=upper)


@pytest.mark.parametrize(
    ("quote", "known", "expected"),
    [
        (quoted(100), ANY, LIMITS),
        (quoted(80), ANY, LIMITS),
        (quoted(79), LIMITS, ANY),  # its own price is outside: the limits are no good
        (quoted(0), LIMITS, LIMITS),
        (quoted(100, Band(0, 0)), ANY, Band(50, 200)),
        (quoted(100, None), LIMITS, LIMITS),
        (quoted(130, None), LIMITS, Band(65, 260)),
        (quoted(100, None, CALL), ANY, ANY),
        (quoted(1, None), ANY, Band(1, 2)),
    ],
)
def test_a_quote_says_what_is_possible(quote: Quote, known: Band, expected: Band):
    assert band_of(quote, known) == expected


class TestTheGate:
    def judge(self, price: int, after: float = 0.0, **fields) -> gate.Decision:
        now = MONDAY + after
        return self.room.judge(Tick(INFY, price, now, int(now), **fields), now, 7)

    @property
    def room(self) -> Gate:
        return self._room

    @pytest.fixture(autouse=True)
    def _build(self) -> None:
        self._room = Gate(Calendar())
        assert self.room.admits(quoted(100), MONDAY)

    def test_both_ends_are_possible(self):
        assert self.judge(80) is self.judge(120) is gate.ACCEPTED

    def test_outside_is_refused_until_a_quote_or_a_second_says_otherwise(self):
        assert self.judge(79) is gate.OUTSIDE_BAND
        assert self.judge(78, 0.9) is gate.OUTSIDE_BAND
        assert self.judge(78, 1.0) is gate.ACCEPTED
        assert self.judge(10, 1.1) is gate.ACCEPTED  # nothing is known any more

    def test_a_quote_that_says_otherwise_settles_it_for_two_seconds(self):
        assert self.judge(79) is gate.OUTSIDE_BAND
        self.room.admits(quoted(100), MONDAY + 0.5)
        assert self.judge(79, 0.6) is self.judge(79, 2.4) is gate.DISPROVED
        assert self.judge(79, 2.5) is gate.OUTSIDE_BAND

    def test_a_price_inside_ends_the_doubt(self):
        assert self.judge(79) is gate.OUTSIDE_BAND
        self.room.admits(quoted(100), MONDAY + 0.5)
        assert self.judge(100, 0.6) is gate.ACCEPTED
        assert self.judge(79, 0.7) is gate.OUTSIDE_BAND

    def test_wider_limits_count_at_once(self):
        assert self.judge(79) is gate.OUTSIDE_BAND
        self.room.admits(quoted(79, Band(70, 130)), MONDAY + 0.5)
        assert self.judge(75, 0.6) is gate.ACCEPTED

    def test_what_could_not_trigger_anyway_raises_no_doubt(self):
        old = Tick(INFY, 79, MONDAY, int(MONDAY) - 60)
        assert self.room.judge(old, MONDAY, 7) is gate.IMPOSSIBLE
        assert self.room.judge(old, MONDAY + 5, 7) is gate.IMPOSSIBLE

    def test_yesterdays_limits_do_not_count_today(self):
        tuesday = datetime(2026, 11, 24, 10, 0, tzinfo=IST).timestamp() - MONDAY
        assert self.judge(10, tuesday) is gate.ACCEPTED

    def test_an_impossible_price_is_neither_shown_nor_counted_as_the_newest(self):
        assert not gate.OUTSIDE_BAND.is_shown
        later = Tick(INFY, 79, MONDAY, int(MONDAY) + 5)
        self.room.judge(later, MONDAY, 7)
        assert self.judge(100) is gate.ACCEPTED  # not late

    def test_it_tells_what_a_price_was_judged_by(self):
        self.judge(100)
        told = self.room.explain(Tick(INFY, 100, MONDAY + 0.25, int(MONDAY)), 7)
        assert told == {"decision": "accepted", "phase": "open", "age_s": 0.25}
        assert self.room.explain(Tick(INFY, 100, MONDAY, int(MONDAY) - 2), 7)["decision"] == "late"
        assert self.room.explain(Tick("NSE:SBIN", 100, MONDAY), 7) == {}
