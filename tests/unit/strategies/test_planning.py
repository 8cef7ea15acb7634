"""How much is sent: never more than the position less what is on its way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.orders import PositionSnapshot, Side
from strategies.domain.planning import Covered, Flat, Need, OwnOrder, Plan, Send, Unclear, plan

INFY = "NSE:INFY"


def need(quantity: int = 100, *, long: bool = True, product: str = "MIS") -> Need:
    return Need(INFY, product, long, quantity)


def position(quantity: int, product: str = "MIS", symbol: str = INFY) -> PositionSnapshot:
    return PositionSnapshot(symbol, product, quantity)


def own(unfilled: int, side: Side = Side.SELL, product: str = "MIS") -> OwnOrder:
    return OwnOrder("TG", INFY, product, side, unfilled)


def sent(decision: Plan) -> tuple[Side, str, int, int]:
    assert isinstance(decision, Send)
    return decision.side, decision.product, decision.quantity, decision.shortfall


def test_a_long_position_is_sold_and_a_short_one_bought_back():
    assert sent(plan(need(), [position(100)], [])) == (Side.SELL, "MIS", 100, 0)
    assert sent(plan(need(long=False), [position(-100)], [])) == (Side.BUY, "MIS", 100, 0)


def test_the_position_caps_the_order():
    assert sent(plan(need(), [position(60)], [])) == (Side.SELL, "MIS", 60, 40)


def test_no_position_or_the_other_side_is_flat():
    assert plan(need(), [], []) == Flat(0)
    assert plan(need(), [position(0)], []) == Flat(0)
    assert plan(need(), [position(-100)], []) == Flat(-100)


def test_what_is_on_its_way_leaves_no_room():
    assert plan(need(), [position(100)], [own(100)]) == Covered()
    assert sent(plan(need(), [position(100)], [own(30)])) == (Side.SELL, "MIS", 70, 30)


def test_orders_on_the_other_side_or_of_another_product_do_not_count():
    others = [own(100, Side.BUY), own(100, product="NRML")]
    assert sent(plan(need(), [position(100)], others)) == (Side.SELL, "MIS", 100, 0)


def test_the_product_is_the_positions_own():
    assert sent(plan(need(), [position(100, "NRML")], [])) == (Side.SELL, "NRML", 100, 0)


def test_a_row_of_its_own_product_at_zero_is_a_closed_position():
    assert plan(need(), [position(0)], []) == Flat(0)
    assert plan(need(), [position(0), position(-100, "NRML")], []) == Flat(0)


def test_a_row_at_zero_beside_another_product_may_be_a_converted_position():
    found = plan(need(), [position(0), position(100, "NRML")], [])
    assert found == Unclear("the MIS position in NSE:INFY is at zero, but there is NRML")


def test_shares_held_for_long_are_not_sold_for_an_intraday_stop():
    demat = PositionSnapshot(INFY, "CNC", 500, from_holdings=True)
    assert isinstance(plan(need(), [demat], []), Unclear)
    assert plan(need(), [position(0), demat], []) == Flat(0)
    assert sent(plan(need(product="CNC"), [demat], [])) == (Side.SELL, "CNC", 100, 0)


def test_shares_in_demat_sold_on_one_exchange_are_gone_from_the_other():
    demat = PositionSnapshot(INFY, "CNC", 100, from_holdings=True)
    elsewhere = OwnOrder("TG", "BSE:INFY", "CNC", Side.SELL, 100)
    assert plan(need(product="CNC"), [demat], [elsewhere]) == Covered()
    assert sent(plan(need(), [position(100)], [OwnOrder("TG", "BSE:INFY", "MIS", Side.SELL, 100)])) == (
        Side.SELL,
        "MIS",
        100,
        0,
    )


def test_an_instrument_that_is_listed_no_longer_is_never_taken_as_flat():
    gone = Need(INFY, "MIS", True, 100, is_listed=False)
    assert isinstance(plan(gone, [], []), Unclear)
    assert isinstance(plan(gone, [position(100, symbol="NSE:INFOSYS")], []), Unclear)
    assert sent(plan(gone, [position(100)], [])) == (Side.SELL, "MIS", 100, 0)


def test_a_position_nobody_can_name_is_never_taken_as_none():
    nameless = PositionSnapshot("", "MIS", 100)
    assert isinstance(plan(need(), [nameless], []), Unclear)
    assert sent(plan(need(), [nameless, position(100)], [])) == (Side.SELL, "MIS", 100, 0)
    assert plan(need(), [PositionSnapshot("", "MIS", 0)], []) == Flat(0)


def test_several_other_products_are_not_guessed_between():
    assert isinstance(plan(need(), [position(50, "NRML"), position(50, "CNC")], []), Unclear)


@given(
    st.integers(1, 500),
    st.booleans(),
    st.integers(-500, 500),
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from(Side)), max_size=4),
)
def test_nothing_sent_can_enlarge_or_turn_a_position(quantity, long, held, orders):
    on_its_way = [own(unfilled, side) for unfilled, side in orders]
    decision = plan(need(quantity, long=long), [position(held)], on_its_way)
    if not isinstance(decision, Send):
        return
    assert 0 < decision.quantity <= quantity
    same_side = sum(o.unfilled for o in on_its_way if o.side is decision.side)
    after = abs(held) - same_side - decision.quantity
    assert after >= 0
    assert (decision.side is Side.SELL) == (held > 0)


@given(st.integers(1, 500), st.integers(-500, 500))
def test_long_and_short_mirror_each_other(quantity, held):
    one = plan(need(quantity), [position(held)], [])
    other = plan(need(quantity, long=False), [position(-held)], [])
    if isinstance(one, Send):
        assert isinstance(other, Send)
        assert (one.quantity, one.shortfall, one.side) == (other.quantity, other.shortfall, Side.SELL)
        assert other.side is Side.BUY
    else:
        assert type(one) is type(other)
