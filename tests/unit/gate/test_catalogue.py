"""Rows of the catalogue that a story tells better than the corpus, and where each row is shown."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.prices import to_units
from marketdata.domain.sessions import IST
from tests.support.ticking import MONDAY, ONE, TWO, Market, TickHouse, units

INFY = "NSE:INFY"
TESTS = Path(__file__).resolve().parents[2]


def house(
    price: int = units(1500), stop: int = units(1400), now: float = MONDAY, *, long: bool = True
) -> TickHouse:
    made = TickHouse(now)
    made.arm(INFY, stop, long=long)
    if now == MONDAY:
        made.tick(INFY, price)
    return made


def at(clock: str) -> float:
    return datetime.fromisoformat(f"2026-11-23T{clock}").replace(tzinfo=IST).timestamp()


def test_every_row_is_named_in_a_test():
    named = {row for path in TESTS.rglob("*.py") for row in re.findall(r"TK-\d\d", path.read_text("utf-8"))}
    assert named >= {f"TK-{number:02}" for number in range(1, 22)}


def test_tk_02_after_a_cached_first_packet_the_real_one_counts():
    room = house(now=MONDAY + 1)
    room.tick(INFY, units(1300), exchange_time=None, is_first=True)
    room.tick(INFY, units(1300), age=70_000, is_first=True)
    assert not room.breaches
    room.tick(INFY, units(1399))
    assert len(room.breaches) == 1


def test_tk_03_an_auction_print_waits_for_the_open():
    room = house(now=at("09:08"))
    room.tick(INFY, units(1390))
    assert room.counts == {"before_open": 1}
    room.move(at("09:15") - room.now)
    assert not room.breaches
    room.tick(INFY, units(1391))
    assert [breach.price for breach in room.breaches] == [units(1391)]


def test_tk_04_what_closed_beyond_the_stop_is_told_once_and_judged_at_the_next_open():
    room = house(now=at("15:29:58"))
    room.tick(INFY, units(1401))
    room.move(3)
    for _ in range(5):
        room.tick(INFY, units(1390))
        room.move(60)
    assert [(closed.stop.strategy_id, closed.price) for closed in room.closed] == [(1, units(1390))]
    assert not room.breaches
    room.move(datetime(2026, 11, 24, 9, 15, tzinfo=IST).timestamp() - room.now)
    room.tick(INFY, units(1390))
    assert len(room.breaches) == 1


def test_tk_05_on_a_day_called_closed_a_fresh_price_triggers():
    """TK-06 too: a special session that nobody has entered."""
    room = house(now=datetime(2026, 11, 21, 11, 0, tzinfo=IST).timestamp())
    room.tick(INFY, units(1390))
    assert len(room.breaches) == 1


def test_tk_08_a_wild_print_held_for_a_second_is_acted_on_at_its_second_tick():
    """TK-09: the filter delays, and does not veto."""
    room = house()
    room.tick(INFY, units(1100))
    room.move(0.3)
    assert not room.breaches
    room.tick(INFY, units(1099))
    [breach] = room.breaches
    assert breach.evidence()["held_for"] == "freak"
    assert breach.evidence()["held_s"] == 0.3


def test_tk_08_a_wild_high_moves_no_stop_and_a_short_is_held_alike():
    room = house(units(1500), units(1600), long=False)
    room.tick(INFY, units(1900))
    room.move(0.5)
    room.tick(INFY, units(1500))
    room.move(1)
    assert not room.breaches
    room.tick(INFY, units(1600))
    assert len(room.breaches) == 1


def test_tk_09_a_quote_that_is_wrong_does_not_outweigh_the_second_tick():
    room = house()
    room.markets[INFY] = Market(units(1500))
    room.tick(INFY, units(1100))
    room.move(5)
    assert not room.breaches  # a quote speaks against it
    room.tick(INFY, units(1101))
    assert len(room.breaches) == 1


def test_tk_10_a_quote_with_wider_limits_lets_the_crash_through_at_once():
    room = house()
    room.markets[INFY] = Market(units(1500), (units(1350), units(1650)), latency_s=0.3)
    room.snapshot(INFY)
    room.markets[INFY] = Market(units(1300), (units(1200), units(1650)), latency_s=0.3)
    room.tick(INFY, units(1300))
    room.move(0.3)
    [breach] = room.breaches
    assert (breach.source, breach.price) == ("quote", units(1300))


TICKS = st.sampled_from((Decimal("0.01"), Decimal("0.05"), Decimal("0.0025")))


@given(TICKS, st.integers(100, 10**7), st.integers(-3, 3), st.booleans())
def test_tk_12_the_stop_itself_is_a_touch_and_one_tick_short_of_it_is_none(tick, number, steps, long):
    """TK-12, in exact units at every tick size."""
    step, stop = to_units(tick), to_units(tick * number)
    room = house(stop + (5 if long else -5) * step, stop, long=long)
    room.breaches.clear()
    room.tick(INFY, stop + steps * step)
    room.move(1)
    assert bool(room.breaches) is (steps <= 0 if long else steps >= 0)


@pytest.mark.parametrize(
    "ltp", [None, "1390", 1390.0, float("nan"), Decimal("NaN"), Decimal("-Infinity"), 1e308]
)
async def test_tk_13_what_is_no_price_is_counted_and_sells_nothing(ltp):
    """TK-13, from outside a feed; what feeds decode is in the decoders' own tests."""
    room = house()
    assert await room.processor.process_batch([{"symbol": INFY, "ltp": ltp}]) == 0
    assert room.processor.stats().error_count == 1
    assert not room.breaches


@given(st.integers(-(10**18), 10**18))
def test_tk_13_any_whole_number_is_judged(price):
    room = house()
    room.tick(INFY, price)
    room.move(1)
    assert bool(room.breaches) is (0 < price <= units(1400))


def test_tk_14_an_overtaken_price_did_trade_and_replaces_nothing():
    room = house()
    room.tick(INFY, units(1399), age=3)
    assert room.counts == {"accepted": 1, "late": 1}
    [breach] = room.breaches
    assert breach.evidence()["gate"]["decision"] == "late"


def test_tk_15_the_same_tick_on_two_connections_is_one_breach():
    room = house()
    for feed in (ONE, TWO, ONE, TWO):
        room.tick(INFY, units(1399), feed=feed)
    assert len(room.breaches) == 1


def test_tk_20_one_that_trades_rarely_is_judged_by_a_quote_and_by_its_next_trade():
    room = house(now=MONDAY + 1)
    room.tick(INFY, units(1300), age=7200, is_first=True, is_trade_time=True)
    assert not room.breaches
    room.markets[INFY] = Market(units(1399))
    room.snapshot(INFY)
    assert [breach.source for breach in room.breaches] == ["quote"]
