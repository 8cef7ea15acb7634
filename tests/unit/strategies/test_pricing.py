"""The limit of a later try: valid for the exchange, towards filling, and inside the day's band."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from marketdata.domain.orders import Quote, Side
from marketdata.domain.prices import UNITS_PER_RUPEE, to_rupees, to_units
from strategies.domain.pricing import GIVES_AWAY, Limit, limit_for

TICK_SIZES = [Decimal(size) for size in ("0.0001", "0.0025", "0.01", "0.05", "0.1", "0.5", "1", "5")]
TICKS = st.sampled_from(TICK_SIZES)
TRIES = st.integers(0, 6)
PAISE = UNITS_PER_RUPEE // 100


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    """Any market inside any band that holds at least one valid price of any tick size."""
    price = draw(st.integers(1_000, 5_000_000)) * PAISE
    lower = draw(st.none() | st.integers(price // 2, max(price // 2, price - 5 * UNITS_PER_RUPEE)))
    upper = draw(st.none() | st.integers(price + 5 * UNITS_PER_RUPEE, price * 2))
    best = st.none() | st.just(0) | st.integers(lower or price // 2, upper or price * 2)
    return Quote("NSE:X", price, bid=draw(best), ask=draw(best), lower=lower, upper=upper)


@given(quotes(), TICKS, st.sampled_from(Side), TRIES, TRIES)
def test_a_limit_is_valid_and_inside_the_band(quote, tick, side, rested, refused):
    limit = limit_for(side, quote, tick, rested=rested, refused=refused).price
    assert limit > 0
    assert limit % tick == 0
    assert quote.lower is None or limit >= to_rupees(quote.lower)
    assert quote.upper is None or limit <= to_rupees(quote.upper)


@given(quotes(), TICKS, st.sampled_from(Side), TRIES, TRIES)
def test_inside_the_band_it_reaches_the_other_side(quote, tick, side, rested, refused):
    """A sell is rounded down and a buy up: rounding never takes a limit away from filling."""
    limit = limit_for(side, quote, tick, rested=rested, refused=refused).price
    best = to_rupees((quote.bid if side is Side.SELL else quote.ask) or quote.price)
    if side is Side.SELL:
        assume(quote.upper is None or best <= to_rupees(quote.upper))
        assert limit <= best or (quote.lower is not None and limit - tick < to_rupees(quote.lower))
    else:
        assert limit >= best or (quote.upper is not None and limit + tick > to_rupees(quote.upper))


@given(quotes(), TICKS, st.sampled_from(Side), TRIES, TRIES)
def test_each_rest_goes_further_and_each_refusal_comes_nearer(quote, tick, side, rested, refused):
    def at(rested: int, refused: int) -> Decimal:
        return limit_for(side, quote, tick, rested=rested, refused=refused).price

    sign = -1 if side is Side.SELL else 1
    assert sign * (at(rested + 1, refused) - at(rested, refused)) >= 0
    assert sign * (at(rested, refused + 1) - at(rested, refused)) <= 0


@pytest.mark.parametrize(("rested", "gives"), list(enumerate(GIVES_AWAY)))
def test_what_is_given_away(rested, gives):
    market = Quote("NSE:X", to_units(Decimal(999)), bid=to_units(Decimal(1000)), ask=to_units(Decimal(1000)))
    sold = limit_for(Side.SELL, market, Decimal("0.05"), rested=rested, refused=0)
    bought = limit_for(Side.BUY, market, Decimal("0.05"), rested=rested, refused=0)
    assert (sold, bought) == (Limit(1000 - gives * 10), Limit(1000 + gives * 10))
    nearer = limit_for(Side.SELL, market, Decimal("0.05"), rested=rested, refused=1)
    assert nearer.price >= 1000 - gives * 5 - Decimal("0.05")


@given(TICKS, st.integers(1_000, 5_000_000), st.sampled_from(Side))
def test_locked_it_is_the_valid_price_nearest_to_the_limit(tick, paise, side):
    end = paise * PAISE
    other = end * 3
    lower, upper = (end, other) if side is Side.SELL else (1, end)
    limit = limit_for(
        side, Quote("NSE:X", end, bid=0, ask=0, lower=lower, upper=upper), tick, rested=0, refused=0
    )
    assert limit.is_queued
    assert limit.price % tick == 0
    assert abs(limit.price - to_rupees(end)) < tick
    assert limit.price >= to_rupees(end) if side is Side.SELL else limit.price <= to_rupees(end)


def test_without_a_band_a_sell_never_goes_below_one_tick():
    penny = Quote("NSE:X", to_units(Decimal("0.05")), bid=to_units(Decimal("0.05")))
    assert limit_for(Side.SELL, penny, Decimal("0.05"), rested=3, refused=0) == Limit(Decimal("0.05"))


@given(quotes(), TICKS, TRIES, TRIES)
def test_upside_down_a_buy_gives_away_what_a_sell_does(quote, tick, rested, refused):
    """Mirrored at a price, what a buy gives away is what a sell gives away there."""
    best = to_units(Decimal(1000))
    sold = limit_for(Side.SELL, Quote("X", best, bid=best), tick, rested=rested, refused=refused)
    bought = limit_for(Side.BUY, Quote("X", best, ask=best), tick, rested=rested, refused=refused)
    assert 1000 - sold.price == bought.price - 1000
